//! A database for one test.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use hogsend::db::{self, Db};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::sync::OnceCell;

/// Advisory lock of the process that makes the database that others are copies of.
const LOCK: i64 = 0x686f_6773_7465_7374;

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
    /// A new database with all migrations, on the server the tests were given.
    pub async fn native() -> Self {
        let admin_url = admin_url();
        let from = migrated(&admin_url).await;
        Self::copied(admin_url, from).await
    }

    /// A new database without a table.
    pub async fn empty() -> Self {
        Self::copied(admin_url(), "template1").await
    }

    /// A copy of a server's database, to which nobody is connected.
    pub async fn copy_of(server: &super::Server) -> Self {
        let from = server.store.native.as_ref().expect("a native database");
        Self::copied(from.admin_url.clone(), &from.name).await
    }

    async fn copied(admin_url: String, from: &str) -> Self {
        let name = format!("t_{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&admin_url).await.unwrap();
        create(&mut admin, &name, from).await;
        let url = beside(&admin_url, &name);
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

fn admin_url() -> String {
    std::env::var("HOGSEND_TEST_DATABASE_URL").expect(
        "HOGSEND_TEST_DATABASE_URL is not set: run the tests with `cargo xtask test`, which starts a Postgres",
    )
}

/// The URL of another database of the same server.
fn beside(url: &str, name: &str) -> String {
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

/// Files are copied, not their pages: several times as fast where the server does not wait for the disk.
async fn create(admin: &mut PgConnection, name: &str, from: &str) {
    let create = format!("CREATE DATABASE {name} TEMPLATE {from} STRATEGY file_copy");
    admin.execute(AssertSqlSafe(create)).await.unwrap();
}

/// The database with all migrations that the tests copy. It stays on the server for the next run: its name holds
/// for these migrations only.
async fn migrated(admin_url: &str) -> &'static str {
    static NAME: OnceCell<String> = OnceCell::const_new();
    NAME.get_or_init(async || {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
        let mut hash = DefaultHasher::new();
        for one in Migrator::new(folder.as_path()).await.unwrap().iter() {
            one.checksum.hash(&mut hash);
        }
        let name = format!("hogsend_tests_{:016x}", hash.finish());
        let mut admin = PgConnection::connect(admin_url).await.unwrap();
        sqlx::query("SELECT pg_advisory_lock($1)")
            .bind(LOCK)
            .execute(&mut admin)
            .await
            .unwrap();
        let there: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
                .bind(&name)
                .fetch_one(&mut admin)
                .await
                .unwrap();
        if !there {
            let unfinished = format!("{name}_unfinished");
            let drop = format!("DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)");
            admin.execute(AssertSqlSafe(drop)).await.unwrap();
            create(&mut admin, &unfinished, "template1").await;
            let url = beside(admin_url, &unfinished).into();
            let db = Db::connect(&url, 1).await.unwrap();
            db::migrate(&db).await.unwrap();
            db.close().await;
            let rename = format!("ALTER DATABASE {unfinished} RENAME TO {name}");
            admin.execute(AssertSqlSafe(rename)).await.unwrap();
            let lock = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false");
            admin.execute(AssertSqlSafe(lock)).await.unwrap();
        }
        admin.close().await.unwrap();
        name
    })
    .await
}
