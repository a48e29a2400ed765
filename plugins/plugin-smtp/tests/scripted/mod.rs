//! A server that says what a test wants it to say.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Answers to MAIL, RCPT, DATA and the message.
pub type Script = [Option<&'static str>; 4];

pub struct Scripted {
    pub port: u16,
}

impl Scripted {
    /// Serves every connection alike. `hello` is the greeting where it is not the usual one.
    pub fn start(hello: &'static str, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let _ = serve(&connection.unwrap(), hello, script);
            }
        });
        Self { port }
    }
}

fn serve(connection: &TcpStream, hello: &str, script: Script) -> std::io::Result<()> {
    let mut out = connection;
    let mut say = |line: &str| out.write_all(format!("{line}\r\n").as_bytes());
    if !hello.is_empty() {
        return say(hello);
    }
    say("220 scripted")?;
    let mut lines = BufReader::new(connection).lines();
    while let Some(line) = lines.next() {
        let line = line?.to_ascii_uppercase();
        let place = match line.split([' ', ':']).next().unwrap_or_default() {
            "MAIL" => 0,
            "RCPT" => 1,
            "DATA" => 2,
            "QUIT" => return say("221 bye"),
            _ => {
                say("250 scripted")?;
                continue;
            }
        };
        let Some(answer) = script[place] else {
            return Ok(());
        };
        say(answer)?;
        if answer.starts_with("354") {
            for line in lines.by_ref() {
                if line? == "." {
                    break;
                }
            }
            let Some(answer) = script[3] else {
                return Ok(());
            };
            say(answer)?;
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "waits for another process")]
pub fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}
