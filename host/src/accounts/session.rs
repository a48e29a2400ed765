//! Sessions: a random token in a cookie, its hash in the database.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use crate::db::{self, Conn, SessionRow, User};
use crate::ids::SessionId;

/// How long a session lasts without being used.
const LIFE: TimeDelta = TimeDelta::days(7);
/// The maximum lifetime of a session, however often it is used.
pub(super) const MAX_LIFE: TimeDelta = TimeDelta::days(30);
/// The lifetime of a session that ends with the browser; it is not extended.
const SHORT_LIFE: TimeDelta = TimeDelta::days(1);
/// How long after its last extension a session in use is extended again.
const REFRESH: TimeDelta = TimeDelta::days(1);

/// The client that started a session.
#[derive(Clone, Debug, Default)]
pub struct Client {
    pub address: Option<String>,
    pub agent: Option<String>,
}

/// A session and its user.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: SessionId,
    /// The token of the cookie; the database stores only a hash.
    pub token: String,
    pub user: User,
    pub client: Client,
    pub expires_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Session {
    /// A stored session with this token.
    pub(super) fn of(row: SessionRow, user: User, token: String) -> Self {
        Self {
            id: row.id,
            token,
            user,
            client: Client {
                address: row.ip_address,
                agent: row.user_agent,
            },
            expires_at: row.expires_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }

    /// Whether the cookie persists after the browser closes.
    pub fn remembered(&self) -> bool {
        self.expires_at - self.updated_at > SHORT_LIFE
    }

    /// Whether the session is due for [`extend`].
    pub fn ages(&self, now: DateTime<Utc>) -> bool {
        let more = self.expires_at < self.created_at + MAX_LIFE;
        more && self.remembered() && now - self.updated_at >= REFRESH
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Starts a session and deletes expired ones.
pub(super) async fn begin(
    conn: &mut Conn,
    user: User,
    client: Client,
    remember: bool,
    now: DateTime<Utc>,
) -> db::Result<Session> {
    let random: [u8; 32] = rand::random();
    let session = Session {
        id: SessionId::new(now),
        token: URL_SAFE_NO_PAD.encode(random),
        user,
        client,
        expires_at: now + if remember { LIFE } else { SHORT_LIFE },
        created_at: now,
        updated_at: now,
    };
    db::sessions_delete_expired(conn, now).await?;
    let row = SessionRow {
        id: session.id,
        ip_address: session.client.address.clone(),
        user_agent: session.client.agent.clone(),
        expires_at: session.expires_at,
        created_at: now,
        updated_at: now,
    };
    db::session_insert(conn, &row, session.user.id, &hash(&session.token)).await?;
    Ok(session)
}

/// The session of a token, unless it has ended.
pub async fn find_session(
    conn: &mut Conn,
    token: &str,
    now: DateTime<Utc>,
) -> db::Result<Option<Session>> {
    let found = db::session_by_token(conn, &hash(token), now).await?;
    let found = found.filter(|(row, _)| row.created_at + MAX_LIFE > now);
    Ok(found.map(|(row, user)| Session::of(row, user, token.to_owned())))
}

/// Extends a session to its full lifetime, up to the maximum. False if it was ended meanwhile.
pub async fn extend(
    conn: &mut Conn,
    session: &mut Session,
    now: DateTime<Utc>,
) -> db::Result<bool> {
    session.expires_at = (now + LIFE).min(session.created_at + MAX_LIFE);
    session.updated_at = now;
    db::session_extend(conn, session.id, session.expires_at, now).await
}

/// Ends the session of a token.
pub async fn sign_out(conn: &mut Conn, token: &str) -> db::Result<()> {
    db::session_delete(conn, &hash(token)).await
}
