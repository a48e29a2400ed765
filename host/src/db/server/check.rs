//! Requirements on the Postgres server, and one line per violation with the fix.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _};

use crate::db::Result;

/// The oldest version that supports our statements.
const VERSION_MIN: i32 = 15;
/// The one encoding that holds every name.
const UTF8: &str = "UTF8";
/// Timeout of the first connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a database cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{said}")]
pub struct Unusable {
    said: String,
    #[source]
    cause: Option<sqlx::Error>,
}

impl Unusable {
    fn of(said: String) -> Self {
        Self { said, cause: None }
    }
}

/// Facts about the server and the database.
#[derive(Clone, Debug)]
struct Facts {
    /// The major version.
    version: i32,
    database: String,
    user: String,
    encoding: String,
    ctype: String,
    /// The locale knows that É and é are one letter.
    folds_case: bool,
    /// Hogsend has been migrated into this database before.
    in_use: bool,
    read_only: bool,
    /// The schema in which tables are created; None where the search_path has none.
    schema: Option<String>,
    may_create: bool,
    /// Tables of Hogsend that the user may not read and write.
    closed: Vec<String>,
}

const FACTS: &str = "SELECT current_setting('server_version_num')::int / 10000 AS version,
    d.datname::text AS database, current_user::text AS \"user\",
    pg_encoding_to_char(d.encoding)::text AS encoding, d.datctype::text AS ctype,
    to_regclass('_sqlx_migrations') IS NOT NULL AS in_use,
    current_setting('transaction_read_only') = 'on' AS read_only,
    current_schema()::text AS schema,
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
    ARRAY(SELECT c.oid::regclass::text
          FROM unnest(ARRAY['_sqlx_migrations', 'contacts', 'user_events', 'journey_states',
                            'email_sends']) AS t (name)
          JOIN pg_class c ON c.oid = to_regclass(t.name)
          WHERE NOT (has_table_privilege(c.oid, 'SELECT') AND (t.name = '_sqlx_migrations'
              OR has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
                 AND has_table_privilege(c.oid, 'DELETE')))) AS closed
    FROM pg_database d WHERE d.datname = current_database()";

/// Whether the default collation maps É to é, whichever provider it comes from.
const FOLDS_CASE: &str = "SELECT lower(chr(201)) = chr(233)";

/// Connects once and checks the server, because a pool would retry a permanent problem until its
/// timeout. `migrating` also requires the right to create tables.
pub(in crate::db) async fn examine(
    options: &PgConnectOptions,
    migrating: bool,
) -> std::result::Result<(), Unusable> {
    let place = Place::of(options);
    let seen = async {
        let mut first = options
            .clone()
            .disable_statement_logging()
            .connect()
            .await?;
        let mut second = options.connect().await?;
        let facts = facts(&mut first).await?;
        let backends = (backend(&mut first).await?, backend(&mut second).await?);
        first.close().await?;
        second.close().await?;
        Ok((facts, backends))
    };
    let (facts, backends) = match tokio::time::timeout(PATIENCE, seen).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) => {
            return Err(Unusable {
                said: place.explain(&error),
                cause: Some(error),
            });
        }
        Err(_) => {
            let said = format!(
                "{} does not answer within {PATIENCE:?}: is the host of DATABASE_URL right, and does \
                 a firewall let this machine in?",
                place.server()
            );
            return Err(Unusable::of(said));
        }
    };
    // Without a pooler, two connections never share a server process.
    if backends.0 == backends.1 {
        return Err(Unusable::of(format!(
            "{} is a connection pooler in transaction mode, where notifications and prepared \
             statements do not work: use its session mode, or the port of Postgres itself",
            place.server()
        )));
    }
    if let Some(said) = facts.problem(migrating) {
        return Err(Unusable::of(said));
    }
    if let Some(said) = facts.warning() {
        tracing::warn!("{said}");
    }
    Ok(())
}

async fn backend(conn: &mut PgConnection) -> Result<i32> {
    // Not prepared: behind a pooler that may fail.
    let row = sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(conn);
    row.await?.try_get(0)
}

async fn facts(conn: &mut PgConnection) -> Result<Facts> {
    let row = sqlx::raw_sql(FACTS).fetch_one(&mut *conn).await?;
    let encoding: String = row.try_get("encoding")?;
    let folds_case = encoding == UTF8
        && sqlx::raw_sql(FOLDS_CASE)
            .fetch_one(conn)
            .await?
            .try_get(0)?;
    Ok(Facts {
        version: row.try_get("version")?,
        database: row.try_get("database")?,
        user: row.try_get("user")?,
        encoding,
        ctype: row.try_get("ctype")?,
        folds_case,
        in_use: row.try_get("in_use")?,
        read_only: row.try_get("read_only")?,
        schema: row.try_get("schema")?,
        may_create: row.try_get("may_create")?,
        closed: row.try_get("closed")?,
    })
}

impl Facts {
    /// Why the database cannot be used.
    fn problem(&self, migrating: bool) -> Option<String> {
        let Self {
            version,
            database,
            user,
            encoding,
            ..
        } = self;
        if *version < VERSION_MIN {
            return Some(format!(
                "the server of DATABASE_URL is Postgres {version}: {VERSION_MIN} or newer is needed"
            ));
        }
        if encoding != UTF8 {
            return Some(format!(
                "the database '{database}' has the encoding {encoding}, which cannot hold every name: \
                 create one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0 and set \
                 DATABASE_URL to it"
            ));
        }
        if !self.folds_case && !self.in_use {
            return Some(format!(
                "the database '{database}' has LC_CTYPE {}, which knows no letters but a to z, so that \
                 searches do not match É with é: create one with CREATE DATABASE … LC_CTYPE 'C.UTF-8' \
                 ENCODING 'UTF8' TEMPLATE template0 and set DATABASE_URL to it",
                self.ctype
            ));
        }
        if self.read_only {
            return Some(format!(
                "the database '{database}' is read-only, for example a replica: set DATABASE_URL to \
                 the primary server"
            ));
        }
        let Some(schema) = &self.schema else {
            return Some(format!(
                "the search_path of the user '{user}' names no schema that exists in '{database}': \
                 CREATE SCHEMA, or ALTER ROLE {user} SET search_path"
            ));
        };
        if migrating && !self.may_create {
            return Some(format!(
                "the user '{user}' may not create tables in the database '{database}': as its owner run \
                 GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}"
            ));
        }
        if !self.closed.is_empty() {
            return Some(format!(
                "the user '{user}' may not read and change {}: as their owner run GRANT SELECT, INSERT, \
                 UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {user}",
                self.closed.join(", ")
            ));
        }
        None
    }

    /// A limitation worth a warning: a new database would be refused, but one with people in it goes on.
    fn warning(&self) -> Option<String> {
        (!self.folds_case && self.in_use).then(|| {
            format!(
                "the database '{}' has LC_CTYPE {}: searches do not match É with é. Where that matters, \
                 restore a dump (pg_dump, pg_restore) into a database created with LC_CTYPE 'C.UTF-8'",
                self.database, self.ctype
            )
        })
    }
}

/// The address of the server, without the password.
struct Place {
    host: String,
    port: u16,
    user: String,
    database: String,
}

impl Place {
    fn of(options: &PgConnectOptions) -> Self {
        let user = options.get_username().to_owned();
        Self {
            host: options.get_socket().map_or_else(
                || options.get_host().to_owned(),
                |path| path.display().to_string(),
            ),
            port: options.get_port(),
            database: options.get_database().unwrap_or(&user).to_owned(),
            user,
        }
    }

    fn server(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The cause and the fix.
    fn explain(&self, error: &sqlx::Error) -> String {
        let Self { user, database, .. } = self;
        let server = self.server();
        match error {
            sqlx::Error::Io(io) if io.kind() == ErrorKind::ConnectionRefused => format!(
                "nothing listens at {server}: start Postgres there, or correct host and port of \
                 DATABASE_URL"
            ),
            sqlx::Error::Io(io) => format!(
                "{server} cannot be reached ({io}): is the host of DATABASE_URL right, and does it resolve \
                 on this machine?"
            ),
            sqlx::Error::Tls(tls) => format!(
                "the TLS handshake with {server} failed ({tls}): correct the certificate, or sslmode \
                 in DATABASE_URL"
            ),
            error => {
                let Some(said) = error.as_database_error() else {
                    return format!(
                        "{server} does not answer like a Postgres server ({error}): correct \
                                    DATABASE_URL"
                    );
                };
                let words = said.message();
                match said.code().as_deref() {
                    Some("28P01") => format!(
                        "{server} refuses the password of the user '{user}': correct it in DATABASE_URL"
                    ),
                    Some("28000") => format!(
                        "{server} refuses the user '{user}' ({words}): correct DATABASE_URL, or \
                         pg_hba.conf of the server"
                    ),
                    Some("3D000") => format!(
                        "{server} has no database '{database}': CREATE DATABASE {database} ENCODING \
                         'UTF8', or correct DATABASE_URL"
                    ),
                    Some("42501") => format!(
                        "the user '{user}' may not use the database '{database}' ({words}): as its \
                         owner run GRANT CONNECT ON DATABASE {database} TO {user}"
                    ),
                    Some("53300") => format!(
                        "{server} has no free connection ({words}): raise its max_connections, or lower \
                         DATABASE_POOL_SIZE"
                    ),
                    Some("57P03") => {
                        format!("{server} is not ready yet ({words}): try again in a moment")
                    }
                    Some("08P01") if words.contains("startup parameter") => format!(
                        "{server} is a connection pooler that refuses a setting ({words}): add it to its \
                         ignore_startup_parameters, or use the port of Postgres itself"
                    ),
                    code => format!(
                        "{server} refuses the connection ({words}, {}): correct DATABASE_URL",
                        code.unwrap_or("no code")
                    ),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Facts;

    #[test]
    fn a_database_that_cannot_be_used_is_refused_with_what_to_do() {
        let sound = Facts {
            version: 15,
            database: "shop".into(),
            user: "app".into(),
            encoding: "UTF8".into(),
            ctype: "en_US.utf8".into(),
            folds_case: true,
            in_use: false,
            read_only: false,
            schema: Some("public".into()),
            may_create: true,
            closed: Vec::new(),
        };
        assert_eq!(sound.problem(true), None);
        assert_eq!(sound.warning(), None);
        type Change = fn(&mut Facts);
        let cases: [(Change, bool, &str); 10] = [
            (|one| one.version = 14, false, "Postgres 14: 15 or newer"),
            (
                |one| one.encoding = "LATIN1".into(),
                false,
                "ENCODING 'UTF8'",
            ),
            (
                |one| one.encoding = "SQL_ASCII".into(),
                true,
                "ENCODING 'UTF8'",
            ),
            (|one| one.folds_case = false, true, "LC_CTYPE 'C.UTF-8'"),
            (|one| one.folds_case = false, false, "LC_CTYPE 'C.UTF-8'"),
            (|one| one.read_only = true, false, "primary server"),
            (|one| one.schema = None, true, "search_path"),
            (
                |one| one.may_create = false,
                true,
                "GRANT USAGE, CREATE ON SCHEMA public TO app",
            ),
            (
                |one| one.closed = vec!["contacts".into()],
                false,
                "GRANT SELECT",
            ),
            (
                |one| one.closed = vec!["contacts".into()],
                true,
                "GRANT SELECT",
            ),
        ];
        for (change, migrating, expected) in cases {
            let mut facts = sound.clone();
            change(&mut facts);
            let said = facts.problem(migrating).unwrap_or_default();
            assert!(said.contains(expected), "{expected} is not in {said}");
            assert!(!said.contains('\n'), "{said}");
        }
        // Without migrating, the right to create tables is not needed.
        let mut facts = sound;
        facts.may_create = false;
        assert_eq!(facts.problem(false), None);
        // A database that has been in use goes on.
        facts.folds_case = false;
        facts.in_use = true;
        facts.ctype = "C".into();
        assert_eq!(facts.problem(false), None);
        let said = facts.warning().unwrap();
        assert!(
            said.contains("LC_CTYPE C:") && said.contains("pg_restore"),
            "{said}"
        );
    }
}
