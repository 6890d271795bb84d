//! The real program `vigie`, started from outside: its start, its requests, its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Longest time for a start or an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `vigie demo`. Dropping it ends it.
pub struct Program {
    child: Child,
    /// Where it answers.
    pub address: SocketAddr,
    /// From the start of the process to the first 200 of `/readyz`.
    pub ready_after: Duration,
}

/// The program beside this one.
pub fn executable() -> Result<PathBuf> {
    let mut path = std::env::current_exe().context("finding this program's own file")?;
    path.set_file_name("vigie");
    ensure!(
        path.exists(),
        "{} is not there: build it first (`cargo build --release -p vigie`)",
        path.display()
    );
    Ok(path)
}

impl Program {
    /// Starts the demo on a free port with these settings (`VIGIE_SECTION__KEY`), and waits until it is ready.
    pub fn start(data: &Path, settings: &[(&str, String)]) -> Result<Self> {
        let started = Instant::now();
        let mut child = Command::new(executable()?)
            .args(["demo", "--port", "0", "--data"])
            .arg(data)
            .envs(settings.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting vigie")?;
        let output = child.stdout.take().context("the program's output")?;
        let mut lines = BufReader::new(output).lines();
        let address = loop {
            let Some(line) = lines.next() else { bail!("vigie ended before it told its address") };
            let line = line?;
            if let Some((_, rest)) = line.split_once("http://") {
                let address: String =
                    rest.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect();
                break address.parse().with_context(|| format!("the address in {line:?}"))?;
            }
        };
        // Whatever else it prints must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let mut program = Self { child, address, ready_after: Duration::ZERO };
        while get(program.address, "/readyz").map(|(status, _)| status).ok() != Some(200) {
            ensure!(started.elapsed() < PATIENCE, "vigie did not become ready within a minute");
            std::thread::sleep(Duration::from_millis(2));
        }
        program.ready_after = started.elapsed();
        Ok(program)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, as an operator would, and waits.
    pub fn stop(mut self) -> Result<()> {
        let status = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        ensure!(status.success(), "vigie cannot be told to stop");
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < until, "vigie did not stop within a minute");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Already gone after `stop`: then both fail, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// One GET on a connection of its own: status and body.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

/// One POST of JSON on a connection of its own: status and body.
pub fn post(address: SocketAddr, path: &str, body: &str) -> Result<(u16, String)> {
    let length = body.len();
    request(
        address,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ),
    )
}

fn request(address: SocketAddr, text: &str) -> Result<(u16, String)> {
    let mut stream = connect(address)?;
    stream.write_all(text.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.get(9..12).and_then(|code| code.parse().ok()).context("no HTTP answer")?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

/// Calls `on_line` with each line of a stream and the moment it came, until it returns false.
pub fn follow(address: SocketAddr, path: &str, mut on_line: impl FnMut(&str, Instant) -> bool) -> Result<()> {
    let mut stream = connect(address)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    for line in BufReader::new(stream).lines() {
        if !on_line(&line?, Instant::now()) {
            break;
        }
    }
    Ok(())
}
