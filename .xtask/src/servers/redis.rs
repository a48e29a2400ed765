//! A private Redis without persistence.

use std::path::Path;

use super::server::Server;

pub fn start(program: &Path) -> anyhow::Result<(Server, String)> {
    let mut server = Server::prepare("redis")?;
    let command = |server: &Server, port: u16| {
        let mut command = server.command(program);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command
    };
    let port = server.start(command, |server| {
        server.log().contains("Ready to accept connections")
    })?;
    Ok((server, format!("redis://127.0.0.1:{port}")))
}
