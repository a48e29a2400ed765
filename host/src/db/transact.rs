//! Transactions: begun, retried, committed and announced in one place.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use rand::Rng as _;
use sqlx::{PgConnection, Postgres, Transaction};

use super::lock::{Held, Level};
use super::wake::Topics;
use super::{Db, PoolConn, Result, Topic, is_transient};
use crate::ids::ContactId;

/// Tries of a transaction that met another one, the first included.
const TRIES: u32 = 6;
/// The longest pause before the second try; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(10);

tokio::task_local! {
    /// What the transaction under way holds, and whom its commit wakes.
    static CONTEXT: RefCell<Context>;
}

#[derive(Default)]
struct Context {
    held: Held,
    topics: Topics,
}

/// An open transaction; dropped without commit, it changes nothing.
#[derive(Debug)]
pub struct Tx(Transaction<'static, Postgres>);

impl Tx {
    pub(super) fn new(transaction: Transaction<'static, Postgres>) -> Self {
        Self(transaction)
    }

    async fn commit(self) -> Result<()> {
        self.0.commit().await.map_err(CommitLost::of)
    }

    pub async fn rollback(self) -> Result<()> {
        self.0.rollback().await
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

/// The connection broke while a commit was under way, so nobody knows whether it took effect.
#[derive(Debug, thiserror::Error)]
#[error("the connection broke during a commit, which may have taken effect")]
struct CommitLost(#[source] sqlx::Error);

impl CommitLost {
    fn of(error: sqlx::Error) -> sqlx::Error {
        // What the server itself refused took no effect.
        if error.as_database_error().is_some() {
            return error;
        }
        sqlx::Error::AnyDriverError(Box::new(Self(error)))
    }
}

/// The connection broke while a statement was under way that is a transaction by itself.
pub fn in_doubt(error: sqlx::Error) -> sqlx::Error {
    CommitLost::of(error)
}

/// What was in doubt is known not to have been committed.
pub fn not_committed(error: &sqlx::Error) -> sqlx::Error {
    std::io::Error::new(std::io::ErrorKind::ConnectionAborted, error.to_string()).into()
}

/// Whether the transaction may have been committed although it failed.
pub fn may_be_committed(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::AnyDriverError(inner) if inner.is::<CommitLost>())
}

/// What the transaction looked at moved while it waited for a lock.
#[derive(Debug, thiserror::Error)]
#[error("a contact was merged into another while its lock was awaited")]
struct Moved;

/// Has the transaction under way run again.
pub(super) fn moved() -> sqlx::Error {
    sqlx::Error::AnyDriverError(Box::new(Moved))
}

/// Whether [`moved`] made the error.
pub(super) fn is_moved(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::AnyDriverError(inner) if inner.is::<Moved>())
}

/// An error that may come of meeting another transaction.
pub trait Failure: From<sqlx::Error> {
    /// Whether running the same transaction again may succeed.
    fn is_transient(&self) -> bool;
}

impl Failure for sqlx::Error {
    fn is_transient(&self) -> bool {
        is_transient(self)
    }
}

/// How long each statement of a transaction may take, waits for locks included. Beyond it the server
/// ends the statement, and whoever waits behind it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Less than a request waits for its answer.
    Request,
    /// Others wait for their turn meanwhile.
    Shared,
}

impl Patience {
    fn begin(self) -> &'static str {
        match self {
            Self::Request => "BEGIN; SET LOCAL statement_timeout = '25s'",
            Self::Shared => "BEGIN; SET LOCAL statement_timeout = '10s'",
        }
    }
}

impl Db {
    /// Runs `work` in a transaction, commits it and wakes whoever has something to do by it.
    ///
    /// `work` gives the transaction back with its value, or `None` in its place where nothing is to
    /// be committed. Where another transaction was in the way (SQLSTATE 40001, 40P01) it runs again,
    /// so everything it does goes through the transaction and everything it changes outside is set
    /// anew at each call. An error rolls back. Locks are taken in one order, which is checked in
    /// builds with debug assertions (see [`Level`]).
    ///
    /// # Errors
    /// The error of `work` or of the commit; a transient one after six tries.
    ///
    /// # Panics
    /// Inside another transaction, which on the embedded database would wait for itself.
    pub async fn transact<T, E, F, U, X>(&self, work: F) -> std::result::Result<T, E>
    where
        E: Failure,
        F: FnMut(Tx) -> U,
        U: Future<Output = std::result::Result<(X, T), E>>,
        X: Into<Option<Tx>>,
    {
        self.transact_within(Patience::Request, work).await
    }

    /// As [`transact`](Self::transact), with another bound for its statements.
    pub async fn transact_within<T, E, F, U, X>(
        &self,
        patience: Patience,
        mut work: F,
    ) -> std::result::Result<T, E>
    where
        E: Failure,
        F: FnMut(Tx) -> U,
        U: Future<Output = std::result::Result<(X, T), E>>,
        X: Into<Option<Tx>>,
    {
        let mut tries = 1;
        loop {
            match self.transact_once(patience, &mut work).await {
                Err(error) if error.is_transient() && tries < TRIES => {
                    let longest = PAUSE * 2_u32.pow(tries - 1);
                    let pause = rand::rng().random_range(Duration::ZERO..=longest);
                    tracing::debug!(tries, "a transaction met another one and runs again");
                    tries += 1;
                    tokio::time::sleep(pause).await;
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(tries, "a transaction met others each time and was given up");
                    return Err(error);
                }
                result => return result,
            }
        }
    }

    async fn transact_once<T, E, F, U, X>(
        &self,
        patience: Patience,
        work: &mut F,
    ) -> std::result::Result<T, E>
    where
        E: Failure,
        F: FnMut(Tx) -> U,
        U: Future<Output = std::result::Result<(X, T), E>>,
        X: Into<Option<Tx>>,
    {
        assert!(
            CONTEXT.try_with(|_| ()).is_err(),
            "a transaction is begun inside another one"
        );
        let tx = self.pool.begin_with(patience.begin()).await.map(Tx::new)?;
        let inside = async {
            let (tx, value) = work(tx).await?;
            let tx: Option<Tx> = tx.into();
            if let Some(tx) = tx {
                let topics = CONTEXT.with(|context| context.borrow().topics);
                self.commit_and_wake(tx, &topics.list()).await?;
            }
            Ok(value)
        };
        CONTEXT.scope(RefCell::default(), inside).await
    }

    /// Commits and tells the workers there is something to do.
    async fn commit_and_wake(&self, mut tx: Tx, topics: &[Topic]) -> Result<()> {
        self.wake.announce(&mut tx, topics).await?;
        tx.commit().await?;
        self.wake.committed(topics);
        Ok(())
    }
}

/// How long an outage may last after which it is still asked what became of a transaction.
const DOUBT: Duration = Duration::from_secs(5);
/// Between two tries to ask.
const DOUBT_PAUSE: Duration = Duration::from_millis(100);

/// By what the server knows the transaction, for [`Db::committed`].
pub async fn transaction_id(tx: &mut Tx) -> Result<String> {
    sqlx::query_scalar!(r#"SELECT pg_current_xact_id()::text AS "id!""#)
        .fetch_one(&mut **tx)
        .await
}

impl Db {
    /// Whether a transaction took effect whose connection broke during the commit. None where the
    /// database does not come back in time to tell.
    pub async fn committed(&self, id: &str) -> Option<bool> {
        let ask = |mut conn: PoolConn| async move {
            let status = sqlx::query_scalar!("SELECT pg_xact_status($1::text::xid8)", id);
            let status = status.fetch_one(&mut *conn).await?;
            Ok(match status.as_deref() {
                Some("committed") => Some(true),
                Some("aborted") => Some(false),
                // Its process at the server has not noticed yet.
                _ => None,
            })
        };
        self.settle(ask).await
    }

    /// Asks on new connections until there is an answer, for a while.
    pub async fn settle<T, F>(&self, ask: impl Fn(PoolConn) -> F) -> Option<T>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        let asked = async {
            loop {
                tokio::time::sleep(DOUBT_PAUSE).await;
                let Ok(conn) = self.conn().await else {
                    continue;
                };
                if let Ok(Some(answer)) = ask(conn).await {
                    return answer;
                }
            }
        };
        tokio::time::timeout(DOUBT, asked).await.ok()
    }
}

/// The transaction under way makes work of this kind, which its commit announces. Outside of
/// [`Db::transact`] this does nothing, and the caller wakes by itself.
pub fn stir(topic: Topic) {
    let _ = CONTEXT.try_with(|context| context.borrow_mut().topics.add(topic));
}

/// The transaction under way takes a lock of this kind.
#[track_caller]
pub(super) fn takes(level: Level) {
    with(|held| held.take(level));
}

/// The transaction under way locks names.
#[track_caller]
pub(super) fn takes_names(names: &[i64]) {
    with(|held| held.take_names(names));
}

/// The transaction under way locks contacts, or has just locked those it found.
#[track_caller]
pub(super) fn takes_contacts(ids: impl Iterator<Item = ContactId>) {
    with(|held| held.take_contacts(ids));
}

/// The transaction under way has made contacts.
pub(super) fn makes_contacts(ids: impl Iterator<Item = ContactId>) {
    with(|held| held.made_contacts(ids));
}

#[track_caller]
fn with(change: impl FnOnce(&mut Held)) {
    // No closure, so that the caller's place reaches the message.
    if cfg!(debug_assertions) && CONTEXT.try_with(|_| ()).is_ok() {
        CONTEXT.with(|context| change(&mut context.borrow_mut().held));
    }
}
