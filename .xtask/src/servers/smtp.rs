//! A private SMTP server that stores every mail as a file, with a certificate of its own authority.

use std::fs;
use std::path::Path;

use super::programs::Mailer;
use super::server::{Server, free_port};

/// One account may send. The server refuses mail to `refused@` and defers mail to `later@`, at any
/// domain.
const CONFIG: &str = r#"
primary_hostname = localhost
spool_directory = FOLDER/spool
log_file_path = FOLDER/%slog
exim_user = USER
exim_group = GROUP
admin_groups = GROUP
local_interfaces = 127.0.0.1
daemon_smtp_ports = STARTTLS : IMPLICIT
tls_on_connect_ports = IMPLICIT
tls_advertise_hosts = *
tls_certificate = FOLDER/server.pem
tls_privatekey = FOLDER/server.key
smtputf8_advertise_hosts = *
acl_smtp_rcpt = recipient
never_users =
keep_environment =
host_lookup =

begin acl
recipient:
  deny local_parts = refused
       message = no such person here
  defer local_parts = later
       message = come back later
  accept authenticated = *
  deny message = relay not permitted

begin routers
all:
  driver = accept
  transport = file

begin transports
file:
  driver = appendfile
  directory = FOLDER/mail
  create_directory
  maildir_format
  user = USER
  group = GROUP

begin authenticators
PLAIN:
  driver = plaintext
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{ann}}{eq{$auth3}{hush}}}}
  server_advertise_condition = ${if def:tls_in_cipher}
"#;

/// Creates an authority, and a certificate for `localhost` signed by it.
const CERTIFICATES: &str = r#"
set -e
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 \
    -subj "/CN=Authority of tests" -addext basicConstraints=critical,CA:TRUE
openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost
echo subjectAltName=DNS:localhost,IP:127.0.0.1 > names
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem \
    -days 2 -extfile names
"#;

/// Starts the server. Returns its ports and files as JSON, for the tests.
pub fn start(mailer: &Mailer) -> anyhow::Result<(Server, String)> {
    let mut server = Server::prepare("smtp")?;
    let mut certificates = server.command(Path::new("sh"));
    certificates.args(["-c", CERTIFICATES]);
    server.run(&mut certificates)?;

    let implicit = free_port()?;
    let (user, group) = server.account.ids()?;
    let file = server.folder.join("exim.conf");
    let command = |server: &Server, port: u16| {
        let config = CONFIG
            .replace("FOLDER", &server.folder.display().to_string())
            .replace("USER", &user.to_string())
            .replace("GROUP", &group.to_string())
            .replace("STARTTLS", &port.to_string())
            .replace("IMPLICIT", &implicit.to_string());
        // If this fails the server does not start, and its log says why.
        let _ = fs::write(&file, config);
        let _ = server.account.own(&file);
        let mut command = server.command(&mailer.0);
        command.arg("-C").arg(&file).args(["-bdf", "-v"]);
        command
    };
    let port = server.start(command, |server| server.log().contains("daemon started"))?;
    let folder = server.folder.display();
    let place = format!(
        r#"{{"starttls":{port},"implicit":{implicit},"ca":"{folder}/ca.pem","mail":"{folder}/mail/new"}}"#
    );
    Ok((server, place))
}
