//! Administrators, as the command line sees them.

use crate::db::{Conn, Result, User};
use crate::ids::UserId;

/// Every administrator, oldest first.
pub async fn users_list(conn: &mut Conn) -> Result<Vec<User>> {
    sqlx::query_as!(
        User,
        r#"SELECT id AS "id: UserId", name, email, created_at, updated_at FROM users ORDER BY id"#
    )
    .fetch_all(conn)
    .await
}

/// Removes an administrator and all their sessions. False where no administrator has this id.
pub async fn user_delete(conn: &mut Conn, id: UserId) -> Result<bool> {
    let done = sqlx::query!("DELETE FROM users WHERE id = $1", id as UserId)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}
