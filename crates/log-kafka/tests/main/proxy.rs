//! A proxy between clients and a broker that understands Kafka's frames: it can lose a reply, change an epoch, or fall silent, for one
//! client at a time.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use kafka_wire_protocol::readable_writable::{Readable, Writable};
use kafka_wire_protocol::schema::request_header::v2::RequestHeader;
use kafka_wire_protocol::schema::streams_group_heartbeat_request::v0::StreamsGroupHeartbeatRequest;

const STREAMS_GROUP_HEARTBEAT: i16 = 88;

/// What happens to the frames of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The next reply to a heartbeat that carries an assignment never arrives; the connection breaks. Once.
    LoseAssignment,
    /// The next heartbeat of a running member says an epoch that is higher by this. Once.
    RaiseEpoch(i32),
    /// Nothing goes through any more, and nobody is told.
    Silence,
}

#[derive(Default)]
struct Faults {
    to: String,
    by_client: HashMap<String, Fault>,
    done: HashMap<String, u32>,
}

/// Listens for as long as the process lives.
pub struct Proxy {
    address: String,
    faults: Arc<Mutex<Faults>>,
}

impl Proxy {
    pub fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let faults = Arc::new(Mutex::new(Faults::default()));
        let shared = Arc::clone(&faults);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(client, &shared));
            }
        });
        Self { address, faults }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where the broker is.
    pub fn lead_to(&self, broker: &str) {
        self.faults.lock().unwrap().to = broker.to_owned();
    }

    /// From now on for this client id; `None`: nothing any more.
    pub fn fault(&self, client: &str, fault: Option<Fault>) {
        let mut faults = self.faults.lock().unwrap();
        match fault {
            Some(fault) => faults.by_client.insert(client.to_owned(), fault),
            None => faults.by_client.remove(client),
        };
    }

    /// How many faults this client has suffered.
    pub fn suffered(&self, client: &str) -> u32 {
        self.faults.lock().unwrap().done.get(client).copied().unwrap_or(0)
    }
}

fn serve(client: TcpStream, faults: &Arc<Mutex<Faults>>) {
    let to = faults.lock().unwrap().to.clone();
    let Ok(broker) = TcpStream::connect(to) else { return };
    client.set_nodelay(true).unwrap();
    broker.set_nodelay(true).unwrap();
    // Correlation ids of heartbeats under way, with their client.
    let heartbeats: Arc<Mutex<HashMap<i32, String>>> = Arc::default();
    let back = {
        let (mut from, mut to) = (broker.try_clone().unwrap(), client.try_clone().unwrap());
        let (faults, heartbeats) = (Arc::clone(faults), Arc::clone(&heartbeats));
        thread::spawn(move || {
            while let Some(frame) = read_frame(&mut from) {
                let correlation = i32::from_be_bytes(frame[..4].try_into().unwrap());
                let client = heartbeats.lock().unwrap().remove(&correlation);
                if client.is_some_and(|client| loses(&faults, &client, &frame))
                    || write_frame(&mut to, &frame).is_err()
                {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        })
    };
    let (mut from, mut to) = (client, broker);
    while let Some(mut frame) = read_frame(&mut from) {
        let key = i16::from_be_bytes(frame[..2].try_into().unwrap());
        let correlation = i32::from_be_bytes(frame[4..8].try_into().unwrap());
        let name = client_of(&frame);
        if faults.lock().unwrap().by_client.get(&name) == Some(&Fault::Silence) {
            continue;
        }
        if key == STREAMS_GROUP_HEARTBEAT {
            raise_epoch(faults, &name, &mut frame);
            heartbeats.lock().unwrap().insert(correlation, name);
        }
        if write_frame(&mut to, &frame).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
    let _ = back.join();
}

fn loses(faults: &Mutex<Faults>, client: &str, frame: &[u8]) -> bool {
    use kafka_wire_protocol::schema::response_header::v1::ResponseHeader;
    use kafka_wire_protocol::schema::streams_group_heartbeat_response::v0::StreamsGroupHeartbeatResponse;

    let mut faults = faults.lock().unwrap();
    match faults.by_client.get(client) {
        Some(Fault::Silence) => true,
        Some(Fault::LoseAssignment) => {
            let mut body = frame;
            ResponseHeader::read(&mut body).unwrap();
            let reply = StreamsGroupHeartbeatResponse::read(&mut body).unwrap();
            let carries = reply.active_tasks.is_some();
            if carries {
                faults.by_client.remove(client);
                *faults.done.entry(client.to_owned()).or_default() += 1;
            }
            carries
        }
        _ => false,
    }
}

fn raise_epoch(faults: &Mutex<Faults>, client: &str, frame: &mut Vec<u8>) {
    let mut faults = faults.lock().unwrap();
    let Some(Fault::RaiseEpoch(by)) = faults.by_client.get(client).copied() else { return };
    let mut body = frame.as_slice();
    let header = RequestHeader::read(&mut body).unwrap();
    let mut request = StreamsGroupHeartbeatRequest::read(&mut body).unwrap();
    if request.member_epoch > 0 {
        request.member_epoch += by;
        frame.clear();
        header.write(frame).unwrap();
        request.write(frame).unwrap();
        faults.by_client.remove(client);
        *faults.done.entry(client.to_owned()).or_default() += 1;
    }
}

fn client_of(frame: &[u8]) -> String {
    let length = usize::try_from(i16::from_be_bytes(frame[8..10].try_into().unwrap())).unwrap_or(0);
    String::from_utf8_lossy(&frame[10..10 + length]).into_owned()
}

fn read_frame(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).ok()?];
    from.read_exact(&mut frame).ok()?;
    Some(frame)
}

fn write_frame(to: &mut TcpStream, frame: &[u8]) -> std::io::Result<()> {
    to.write_all(&i32::try_from(frame.len()).unwrap().to_be_bytes())?;
    to.write_all(frame)
}
