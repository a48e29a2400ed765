//! Transactions: begin, retry, commit and wake-up in one place.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::Rng as _;
use sqlx::{PgConnection, Postgres, Transaction};

use super::lock::{Held, Level};
use super::run::{Wakes, run_wakes_insert};
use super::wake::Topics;
use super::{Db, PoolConn, Result, Topic, is_transient};
use crate::ids::{ContactId, StateId};
use crate::telemetry::metrics::DATABASE_RETRIES;

/// Attempts of a transaction that conflicts with others, including the first.
const TRIES: u32 = 6;
/// The longest pause before the second attempt; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(10);

tokio::task_local! {
    /// The current transaction's locks, the topics its commit wakes, and the runs it wakes.
    static CONTEXT: RefCell<Context>;
}

#[derive(Default)]
struct Context {
    held: Held,
    topics: Topics,
    wakes: Wakes,
}

/// An open transaction; dropping it rolls it back.
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

/// The connection broke during a commit, so it is unknown whether it took effect.
#[derive(Debug, thiserror::Error)]
#[error("the connection broke during a commit, which may have taken effect")]
struct CommitLost(#[source] sqlx::Error);

impl CommitLost {
    fn of(error: sqlx::Error) -> sqlx::Error {
        // A commit that the server refused had no effect.
        if error.as_database_error().is_some() {
            return error;
        }
        sqlx::Error::AnyDriverError(Box::new(Self(error)))
    }
}

/// The connection broke during a statement that is a transaction by itself.
pub fn in_doubt(error: sqlx::Error) -> sqlx::Error {
    CommitLost::of(error)
}

/// A commit that was in doubt is known to have failed.
pub fn not_committed(error: &sqlx::Error) -> sqlx::Error {
    std::io::Error::new(std::io::ErrorKind::ConnectionAborted, error.to_string()).into()
}

/// Whether the transaction may have been committed although it failed.
pub fn may_be_committed(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::AnyDriverError(inner) if inner.is::<CommitLost>())
}

/// A row the transaction had read changed while it waited for a lock.
#[derive(Debug, thiserror::Error)]
#[error("a contact was merged into another while its lock was awaited")]
struct Moved;

/// An error that makes [`Db::transact`] run the transaction again.
pub(super) fn moved() -> sqlx::Error {
    sqlx::Error::AnyDriverError(Box::new(Moved))
}

/// Whether the error comes from [`moved`].
pub(super) fn is_moved(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::AnyDriverError(inner) if inner.is::<Moved>())
}

/// An error that a conflict with another transaction may have caused.
pub trait Failure: From<sqlx::Error> {
    /// Whether running the same transaction again may succeed.
    fn is_transient(&self) -> bool;
}

impl Failure for sqlx::Error {
    fn is_transient(&self) -> bool {
        is_transient(self)
    }
}

/// Timeout of each statement of a transaction, including lock waits. The server cancels a statement
/// that exceeds it, so that others waiting behind it continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Shorter than the timeout of a request.
    Request,
    /// Short, because others wait for the same locks.
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
    /// Runs `work` in a transaction, commits it and wakes the loops that have new work.
    ///
    /// `work` returns the transaction with its value, or `None` in its place where there is nothing
    /// to commit. After a conflict with another transaction (SQLSTATE 40001, 40P01) it runs again,
    /// so all its effects go through the transaction, and it resets what it changes outside on each
    /// call. An error rolls back. Locks are taken in one order, which is checked in builds with
    /// debug assertions (see [`Level`]).
    ///
    /// # Errors The error of `work` or of the commit; a transient one after six attempts.
    ///
    /// # Panics Inside another transaction: on the embedded database the inner one would wait
    /// forever.
    pub async fn transact<T, E, F, U, X>(&self, work: F) -> std::result::Result<T, E>
    where
        E: Failure,
        F: FnMut(Tx) -> U,
        U: Future<Output = std::result::Result<(X, T), E>>,
        X: Into<Option<Tx>>,
    {
        self.transact_within(Patience::Request, work).await
    }

    /// Like [`transact`](Self::transact), with another timeout for its statements.
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
                    DATABASE_RETRIES.add(&[], 1);
                    tracing::debug!(
                        tries,
                        "a transaction conflicted with another one and runs again"
                    );
                    tries += 1;
                    tokio::time::sleep(pause).await;
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(
                        tries,
                        "a transaction conflicted with others on every attempt and was given up"
                    );
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
                let (topics, wakes) = CONTEXT.with(|context| {
                    let mut context = context.borrow_mut();
                    (context.topics, std::mem::take(&mut context.wakes))
                });
                self.commit_and_wake(tx, topics, &wakes).await?;
            }
            Ok(value)
        };
        CONTEXT.scope(RefCell::default(), inside).await
    }

    /// Commits and wakes the workers. Keeps the wake-ups of runs where an engine outside the database is in
    /// use.
    async fn commit_and_wake(&self, mut tx: Tx, mut topics: Topics, wakes: &Wakes) -> Result<()> {
        if !wakes.is_empty() && self.outbox.is_used(&mut tx).await? {
            run_wakes_insert(&mut tx, wakes).await?;
            topics.add(Topic::Wakes);
        }
        let topics = topics.list();
        self.wake.announce(&mut tx, &topics).await?;
        tx.commit().await?;
        self.wake.committed(&topics);
        Ok(())
    }

    /// Engines outside the database came or went: the next transaction looks at once which are in use.
    pub fn engines_changed(&self) {
        self.outbox.forget();
    }
}

/// How long to ask for the result of a transaction after the connection broke.
const DOUBT: Duration = Duration::from_secs(5);
/// Pause before each attempt to ask.
const DOUBT_PAUSE: Duration = Duration::from_millis(100);

/// The server's id of the transaction, for [`Db::committed`].
pub async fn transaction_id(tx: &mut Tx) -> Result<String> {
    sqlx::query_scalar!(r#"SELECT pg_current_xact_id()::text AS "id!""#)
        .fetch_one(&mut **tx)
        .await
}

impl Db {
    /// Whether a transaction took effect whose connection broke during the commit. None where the
    /// database does not come back in time.
    pub async fn committed(&self, id: &str) -> Option<bool> {
        let ask = |mut conn: PoolConn| async move {
            let status = sqlx::query_scalar!("SELECT pg_xact_status($1::text::xid8)", id);
            let status = status.fetch_one(&mut *conn).await?;
            Ok(match status.as_deref() {
                Some("committed") => Some(true),
                Some("aborted") => Some(false),
                // Its server process has not noticed the broken connection yet.
                _ => None,
            })
        };
        self.settle(ask).await
    }

    /// Asks on new connections until there is an answer, for at most five seconds.
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

/// The current transaction creates work of this kind, so its commit wakes the loop. Outside
/// [`Db::transact`] this does nothing, and the caller must wake the loop.
pub fn stir(topic: Topic) {
    let _ = CONTEXT.try_with(|context| context.borrow_mut().topics.add(topic));
}

/// The current transaction makes these runs due at a time, or ends them (None), from outside their own advance.
/// Outside [`Db::transact`] this does nothing, and an engine outside the database notices when they are overdue.
pub(super) fn rouse(runs: impl IntoIterator<Item = (StateId, Option<DateTime<Utc>>)>) {
    let _ = CONTEXT.try_with(|context| context.borrow_mut().wakes.extend(runs));
}

/// The current transaction takes a lock of this kind.
#[track_caller]
pub(super) fn takes(level: Level) {
    with(|held| held.take(level));
}

/// The current transaction locks names.
#[track_caller]
pub(super) fn takes_names(names: &[i64]) {
    with(|held| held.take_names(names));
}

/// The current transaction locks contacts, or has just locked those it found.
#[track_caller]
pub(super) fn takes_contacts(ids: impl Iterator<Item = ContactId>) {
    with(|held| held.take_contacts(ids));
}

/// The current transaction has created contacts.
pub(super) fn makes_contacts(ids: impl Iterator<Item = ContactId>) {
    with(|held| held.made_contacts(ids));
}

#[track_caller]
fn with(change: impl FnOnce(&mut Held)) {
    // Not a closure: `track_caller` must reach the panic message.
    if cfg!(debug_assertions) && CONTEXT.try_with(|_| ()).is_ok() {
        CONTEXT.with(|context| change(&mut context.borrow_mut().held));
    }
}
