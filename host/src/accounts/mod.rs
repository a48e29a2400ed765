//! Administrators of this installation and their sessions.

mod account;
mod password;
mod reset;
mod session;
mod tries;
mod user;

pub use account::{ChangeError, change_password, rename, revoke, revoke_all, sessions};
pub use password::{HashError, Passwords};
pub use reset::{ResetError, reset_password, reset_works, send_reset};
pub use session::{Client, Session, extend, find_session, sign_out};
pub use tries::{COME_BACK, Tries};
pub use user::{
    NewAccount, PasswordError, SignInError, SignUpError, create, first_sign_up, remove,
    set_password, sign_in,
};
