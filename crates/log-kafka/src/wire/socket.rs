//! A TCP stream, encrypted or not, whose reads and writes end at a deadline.
//!
//! A read timeout of the operating system starts anew with each piece that arrives; a deadline does not.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};

use super::{WireError, tls};
use crate::Tls;

/// Plain or encrypted bytes.
pub(super) enum Socket {
    Plain(Timed),
    Encrypted(Box<StreamOwned<ClientConnection, Timed>>),
}

/// A TCP stream with a deadline.
pub(super) struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Socket {
    /// Connects to `host:port`, trying each of the host's addresses, and encrypts where asked to.
    pub(super) fn open(address: &str, tls: Option<&Tls>, deadline: Instant) -> Result<Self, WireError> {
        let stream = connect(address, deadline)?;
        let mut timed = Timed { stream, deadline };
        let Some(tls) = tls else { return Ok(Self::Plain(timed)) };
        let failed = |reason: String| WireError::Tls { address: address.to_owned(), reason };
        let mut session = tls::session(tls, host_of(address)).map_err(failed)?;
        // The handshake now, not at the first write: so that its failure is told as what it is.
        while session.is_handshaking() {
            session.complete_io(&mut timed).map_err(|error| match error.kind() {
                // The network's fault, not a certificate's: worth another try.
                ErrorKind::TimedOut | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                    WireError::Connect {
                        address: address.to_owned(),
                        reason: format!("{error} while TLS began; does this port speak TLS?"),
                    }
                }
                _ => failed(tls::advice(&error)),
            })?;
        }
        Ok(Self::Encrypted(Box::new(StreamOwned::new(session, timed))))
    }

    /// Until when the reads and writes that follow may take.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        match self {
            Self::Plain(timed) => timed.deadline = deadline,
            Self::Encrypted(stream) => stream.sock.deadline = deadline,
        }
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn connect(address: &str, deadline: Instant) -> Result<TcpStream, WireError> {
    let failed = |reason: String| WireError::Connect { address: address.to_owned(), reason };
    let addresses = address.to_socket_addrs().map_err(|error| failed(error.to_string()))?;
    let mut last = String::from("its name has no address");
    for candidate in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(failed(String::from("no connection in time")));
        }
        match TcpStream::connect_timeout(&candidate, left) {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
                return Ok(stream);
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(failed(last))
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(too_late()) } else { Ok(left) }
    }
}

fn too_late() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "no answer in time")
}

/// What the system calls an expired timeout depends on the system.
fn timed_out(error: io::Error) -> io::Error {
    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) { too_late() } else { error }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer).map_err(timed_out)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.read(buffer),
            Self::Encrypted(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.write(bytes),
            Self::Encrypted(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(timed) => timed.flush(),
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_addresses() {
        for (address, host) in [("a:1", "a"), ("[::1]:9092", "::1"), ("127.0.0.1:9", "127.0.0.1"), ("b", "b")]
        {
            assert_eq!(host_of(address), host);
        }
    }
}
