//! A server that speaks SMTP and answers as a test wants, by recipient.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[derive(Default)]
struct Inner {
    /// Part of a recipient's address to what its RCPT is answered with.
    answers: HashMap<&'static str, &'static str>,
    /// Recipients of messages that were taken.
    taken: Vec<String>,
    asked: usize,
}

#[derive(Clone)]
pub struct Smtp {
    port: u16,
    inner: Arc<Mutex<Inner>>,
}

impl Smtp {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            inner: Arc::default(),
        };
        let inner = server.inner.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let inner = inner.clone();
                tokio::spawn(async move {
                    let _ = serve(connection, &inner).await;
                });
            }
        });
        server
    }

    pub fn port(&self) -> String {
        self.port.to_string()
    }

    /// What a recipient whose address holds `part` is answered from now on; empty for a yes.
    pub fn answer(&self, part: &'static str, answer: &'static str) {
        self.inner.lock().unwrap().answers.insert(part, answer);
    }

    /// Recipients of the messages taken, in order.
    pub fn taken(&self) -> Vec<String> {
        self.inner.lock().unwrap().taken.clone()
    }

    /// How many recipients were asked for.
    pub fn asked(&self) -> usize {
        self.inner.lock().unwrap().asked
    }
}

async fn serve(connection: TcpStream, inner: &Mutex<Inner>) -> std::io::Result<()> {
    let (read, mut write) = connection.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 stand-in\r\n").await?;
    let mut to = String::new();
    let mut message = false;
    while let Some(line) = lines.next_line().await? {
        let answer = match line.as_str() {
            "." if message => {
                message = false;
                inner.lock().unwrap().taken.push(to.clone());
                "250 taken".to_owned()
            }
            _ if message => continue,
            "DATA" => {
                message = true;
                "354 go on".to_owned()
            }
            "QUIT" => "221 bye".to_owned(),
            line if line.starts_with("RCPT TO:") => {
                let address = line.trim_start_matches("RCPT TO:");
                to = address.trim_matches(['<', '>']).to_owned();
                let mut inner = inner.lock().unwrap();
                inner.asked += 1;
                // The longest part knows the recipient best.
                let known = inner
                    .answers
                    .iter()
                    .filter(|(part, _)| to.contains(**part))
                    .max_by_key(|(part, _)| part.len());
                known
                    .map(|(_, answer)| (*answer).to_owned())
                    .filter(|answer| !answer.is_empty())
                    .unwrap_or_else(|| "250 fine".into())
            }
            _ => "250 fine".to_owned(),
        };
        write.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}
