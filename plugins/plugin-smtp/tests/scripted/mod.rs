//! A server with scripted replies.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Answers to MAIL, RCPT, DATA and the message.
pub type Script = [Option<&'static str>; 4];

pub struct Scripted {
    pub port: u16,
}

impl Scripted {
    /// Serves every connection the same way. `hello` replaces the usual greeting.
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

impl Scripted {
    /// Answers the message with these bytes and closes the connection.
    pub fn raw(answer: Vec<u8>) -> Self {
        Self::ending(move |mut connection| {
            let _ = connection.write_all(&answer);
        })
    }

    /// Reads the message and sends nothing until the client closes the connection.
    pub fn silent_at_the_end() -> Self {
        Self::ending(|connection| {
            let mut rest = BufReader::new(connection).lines();
            while rest.next().is_some_and(|line| line.is_ok()) {}
        })
    }

    fn ending(end: impl Fn(&TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let connection = connection.unwrap();
                let mut out = &connection;
                let _ = out.write_all(b"220\r\n");
                for line in BufReader::new(&connection).lines().map_while(Result::ok) {
                    let answer = match line.as_str() {
                        "DATA" => "354\r\n",
                        "." => break,
                        line if is_command(line) => "250\r\n",
                        _ => continue,
                    };
                    let _ = out.write_all(answer.as_bytes());
                }
                end(&connection);
            }
        });
        Self { port }
    }
}

fn is_command(line: &str) -> bool {
    ["EHLO ", "MAIL FROM:", "RCPT TO:"]
        .iter()
        .any(|word| line.starts_with(word))
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
