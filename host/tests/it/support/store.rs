//! A database for one test.

use hogsend::db::Db;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// A database that belongs to one test.
pub struct Store {
    db: Db,
    native: Option<Native>,
    folder: Option<tempfile::TempDir>,
}

struct Native {
    admin_url: String,
    name: String,
    pub url: String,
}

impl Store {
    /// A new database on the server the tests were given.
    pub async fn native() -> Self {
        let admin_url = std::env::var("HOGSEND_TEST_DATABASE_URL").expect(
            "HOGSEND_TEST_DATABASE_URL is not set: run the tests with `cargo xtask test`, which starts a Postgres",
        );
        let name = format!("t_{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&admin_url).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut admin)
            .await
            .unwrap();
        let (server, _) = admin_url.rsplit_once('/').unwrap();
        let url = format!("{server}/{name}");
        Self {
            db: Db::connect(&url.clone().into(), 8).await.unwrap(),
            native: Some(Native {
                admin_url,
                name,
                url,
            }),
            folder: None,
        }
    }

    /// A copy of a server's database, to which nobody is connected.
    pub async fn copy_of(server: &super::Server) -> Self {
        let from = server.store.native.as_ref().expect("a native database");
        let name = format!("t_{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&from.admin_url).await.unwrap();
        let copy = format!("CREATE DATABASE {name} TEMPLATE {}", from.name);
        sqlx::query(AssertSqlSafe(copy))
            .execute(&mut admin)
            .await
            .unwrap();
        let (host, _) = from.admin_url.rsplit_once('/').unwrap();
        let url = format!("{host}/{name}");
        Self {
            db: Db::connect(&url.clone().into(), 8).await.unwrap(),
            native: Some(Native {
                admin_url: from.admin_url.clone(),
                name,
                url,
            }),
            folder: None,
        }
    }

    /// A database that another process made and removes.
    pub async fn at(url: &str) -> Self {
        Self {
            db: Db::connect(&url.to_owned().into(), 8).await.unwrap(),
            native: None,
            folder: None,
        }
    }

    /// A new embedded database in a folder of its own.
    pub async fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            db: Db::embedded(folder.path()).await.unwrap(),
            native: None,
            folder: Some(folder),
        }
    }

    /// The same database, which the other one removes.
    pub fn share(&self) -> Self {
        Self {
            db: self.db.clone(),
            native: None,
            folder: None,
        }
    }

    pub fn db(&self) -> &Db {
        &self.db
    }

    /// For a process of its own to connect to.
    pub fn url(&self) -> &str {
        &self.native.as_ref().expect("a native database").url
    }

    pub async fn remove(self) {
        self.db.close().await;
        if let Some(native) = self.native {
            let mut admin = PgConnection::connect(&native.admin_url).await.unwrap();
            let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", native.name);
            sqlx::query(AssertSqlSafe(drop))
                .execute(&mut admin)
                .await
                .unwrap();
        }
        drop(self.folder);
    }
}
