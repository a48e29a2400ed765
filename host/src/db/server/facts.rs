//! What an operator wants to know about the database server.

use chrono::{DateTime, Utc};

use crate::db::{Conn, Result};

/// Facts about the server.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    pub version: String,
    pub encoding: String,
    /// By the server's clock.
    pub now: DateTime<Utc>,
    pub max_connections: i64,
    /// Connections that only superusers may take.
    pub reserved: i64,
    /// Connections that are open, those of others included as far as this user may see them.
    pub connections: i64,
    /// The extensions of this database.
    pub extensions: Vec<String>,
}

pub async fn server_facts(conn: &mut Conn) -> Result<ServerFacts> {
    sqlx::query_as!(
        ServerFacts,
        r#"SELECT current_setting('server_version') AS "version!",
                  current_setting('server_encoding') AS "encoding!", clock_timestamp() AS "now!",
                  current_setting('max_connections')::bigint AS "max_connections!",
                  current_setting('superuser_reserved_connections')::bigint AS "reserved!",
                  (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
                      AS "connections!",
                  ARRAY(SELECT extname::text FROM pg_extension ORDER BY 1) AS "extensions!""#
    )
    .fetch_one(conn)
    .await
}

/// The time of the database's clock, which all processes share.
pub async fn wall_time(conn: &mut Conn) -> Result<DateTime<Utc>> {
    sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(conn)
        .await
}
