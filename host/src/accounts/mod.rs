//! The people who administer this installation, and their sessions.

mod password;
mod session;
mod user;

pub use password::Passwords;
pub use session::{Client, Session, extend, find_session, sign_out};
pub use user::{
    NewAccount, SignInError, SignUpError, create, first_sign_up, remove, set_password, sign_in,
};
