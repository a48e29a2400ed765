//! Unusable databases: each is refused at once, in one line with the fix.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::process::run;

fn admin_url() -> String {
    std::env::var("HOGSEND_TEST_DATABASE_URL").expect("a database server of the tests")
}

async fn admin(database: &str, sql: &[&str]) {
    let (server, _) = admin_url()
        .rsplit_once('/')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let mut conn = PgConnection::connect(&format!("{server}/{database}"))
        .await
        .unwrap();
    for one in sql {
        sqlx::raw_sql(AssertSqlSafe(*one))
            .execute(&mut conn)
            .await
            .unwrap();
    }
}

/// The output of `hogsend <command>` with this database: one line, without the password.
fn refused(command: &str, url: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let variables = [
        ("DATABASE_URL", url),
        ("HOGSEND_DATA_DIR", data),
        ("LOG_LEVEL", "error"),
    ];
    let (code, said) = run(folder.path(), &[command], &variables);
    assert_eq!(code, Some(1), "{command}: {said}");
    let lines: Vec<&str> = said.trim().lines().collect();
    assert_eq!(lines.len(), 1, "{command}: {said}");
    assert!(!said.contains("hunter2"), "{said}");
    said
}

/// The URL of another user or database on the tests' server.
fn at(user: &str, database: &str) -> String {
    let url = admin_url();
    let (_, rest) = url.split_once('@').unwrap();
    let (server, _) = rest.rsplit_once('/').unwrap();
    format!("postgres://{user}:hunter2@{server}/{database}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_database_is_reported_with_the_fix() {
    let port = crate::support::process::free_port();
    let cases = [
        (
            format!("postgres://a:hunter2@127.0.0.1:{port}/c"),
            "nothing listens at 127.0.0.1",
        ),
        (
            "postgres://a:hunter2@no-such-host.invalid/c".to_owned(),
            "no-such-host.invalid:5432 cannot be reached",
        ),
        (
            at("postgres", "no_such_database"),
            "has no database 'no_such_database'",
        ),
        (at("no_such_user", "postgres"), "the user 'no_such_user'"),
    ];
    for (url, expected) in cases {
        for command in ["migrate", "api", "worker"] {
            let said = refused(command, &url);
            assert!(said.contains(expected), "{command}: {said}");
        }
    }
}

/// A server that asks for a password and refuses it, like Postgres with `password` in pg_hba.conf;
/// the tests' own server trusts everybody.
async fn refuses_passwords() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(refuse(client));
        }
    });
    port
}

/// One connection to it (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).
async fn refuse(mut client: TcpStream) -> std::io::Result<()> {
    const TLS: u32 = 80_877_103;
    loop {
        let length = client.read_u32().await?;
        let kind = client.read_u32().await?;
        let mut rest = vec![0; length as usize - 8];
        client.read_exact(&mut rest).await?;
        if kind != TLS {
            break;
        }
        client.write_all(b"N").await?;
    }
    // AuthenticationCleartextPassword.
    client.write_all(b"R\0\0\0\x08\0\0\0\x03").await?;
    client.read_u8().await?;
    let length = client.read_u32().await?;
    let mut password = vec![0; length as usize - 4];
    client.read_exact(&mut password).await?;
    assert_eq!(password, b"hunter2\0");
    let said = b"SFATAL\0VFATAL\0C28P01\0\
                 Mpassword authentication failed for user \"ann\"\0\
                 Fauth.c\0L326\0Rauth_failed\0\0";
    client.write_all(b"E").await?;
    client.write_u32(said.len() as u32 + 4).await?;
    client.write_all(said).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_reported_with_the_fix_and_without_the_password() {
    let port = refuses_passwords().await;
    let url = format!("postgres://ann:hunter2@127.0.0.1:{port}/shop");
    for command in ["migrate", "api", "worker"] {
        let said = refused(command, &url);
        let words = format!(
            "127.0.0.1:{port} refuses the password of the user 'ann': correct it in DATABASE_URL"
        );
        assert!(said.contains(&words), "{command}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_database_that_knows_only_a_to_z_is_refused_and_one_in_use_goes_on() {
    let name = format!("t_{}", uuid::Uuid::new_v4().simple());
    for ctype in ["C", "POSIX"] {
        let create = format!(
            "CREATE DATABASE {name} ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE '{ctype}' TEMPLATE template0"
        );
        admin("postgres", &[&create]).await;
        for command in ["migrate", "api", "worker"] {
            let said = refused(command, &at("postgres", &name));
            assert!(
                said.contains("has LC_CTYPE C") && said.contains("LC_CTYPE 'C.UTF-8'"),
                "{command}: {said}"
            );
        }
        // Another version of Hogsend was at home here before.
        let table = "CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL, \
                     installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, \
                     checksum bytea NOT NULL, execution_time bigint NOT NULL)";
        admin(&name, &[table]).await;
        let folder = tempfile::tempdir().unwrap();
        let url = at("postgres", &name);
        let variables = [
            ("DATABASE_URL", url.as_str()),
            ("HOGSEND_DATA_DIR", folder.path().to_str().unwrap()),
        ];
        let (code, said) = run(folder.path(), &["migrate"], &variables);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("searches do not match É with é"), "{said}");
        let drop = format!("DROP DATABASE {name} WITH (FORCE)");
        admin("postgres", &[&drop]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_another_encoding_or_without_rights_is_refused() {
    let name = format!("t_{}", uuid::Uuid::new_v4().simple());
    let create = format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    );
    admin("postgres", &[&create]).await;
    for command in ["migrate", "api", "worker"] {
        let said = refused(command, &at("postgres", &name));
        assert!(
            said.contains("has the encoding LATIN1"),
            "{command}: {said}"
        );
    }
    let drop = format!("DROP DATABASE {name} WITH (FORCE)");
    admin("postgres", &[&drop]).await;

    let role = format!("r_{}", uuid::Uuid::new_v4().simple());
    admin(
        "postgres",
        &[
            &format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0"),
            &format!("CREATE ROLE {role} LOGIN"),
        ],
    )
    .await;
    let said = refused("migrate", &at(&role, &name));
    assert!(
        said.contains("GRANT USAGE, CREATE ON SCHEMA public"),
        "{said}"
    );
    // Another user owns the tables.
    admin(
        &name,
        &[
            "CREATE TABLE _sqlx_migrations (version bigint); CREATE TABLE contacts (id uuid)",
            &format!("GRANT SELECT ON contacts TO {role}"),
        ],
    )
    .await;
    for command in ["api", "worker"] {
        let said = refused(command, &at(&role, &name));
        assert!(
            said.contains("may not read and change _sqlx_migrations, contacts"),
            "{command}: {said}"
        );
    }
    admin("postgres", &[&drop, &format!("DROP ROLE {role}")]).await;
}
