//! README's API section, run from top to bottom as a reader would.

use std::process::{Command, Stdio};

use crate::support::process::{Process, free_port, until};

/// What stands between ```sh and ``` in the section.
fn script() -> String {
    let readme = include_str!("../../../README.md");
    let section = readme.split("\n## API\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```sh\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap_or_default())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_of_the_api_section_work_on_a_fresh_server() {
    let data = tempfile::tempdir().unwrap();
    let port = free_port();
    let variables = [
        ("HOGSEND_DATA_DIR", data.path().to_str().unwrap()),
        ("REDIS_URL", "redis://127.0.0.1:1"),
    ];
    let server = Process::start("dev", port, &variables);
    let http = hogsend::http_client::http_client();
    until("the server answers", async || {
        http.get(server.url("/v1/health")).send().await.is_ok()
    })
    .await;
    let lines = script();
    assert!(lines.matches("curl ").count() >= 18, "{lines}");
    // An answer that is no success ends the script.
    let script = format!(
        "set -euo pipefail\ncurl() {{ command curl -sS --fail-with-body \"$@\"; echo; }}\n{}",
        lines
            .replace("localhost:3002", &format!("127.0.0.1:{port}"))
            .replace(".hogsend/", &format!("{}/", data.path().display()))
    );
    let ran = tokio::task::spawn_blocking(move || {
        Command::new("bash")
            .args(["-c", &script])
            .stdin(Stdio::null())
            .output()
            .expect("bash and curl")
    });
    let ran = ran.await.unwrap();
    let (said, complained) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert!(ran.status.success(), "{said}\n{complained}");
    for told in [
        "\"stored\":true",
        "\"results\":[",
        "\"emailSendId\"",
        "\"timeline\"",
        "\"jobId\"",
        "\"secret\":\"whsec_",
        "\"key\":\"hsk_",
        "u3@example.com",
    ] {
        assert!(said.contains(told), "{told} is not in {said}");
    }
}
