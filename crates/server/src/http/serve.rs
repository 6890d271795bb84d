//! Connections: accepted up to a limit, closed when their headers take too long, ended in order when the server stops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::app::{App, Context};

/// How long requests under way may take once the server stops.
const GRACE: Duration = Duration::from_secs(5);
const HEADER_BYTES: usize = 64 << 10;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {addr}: {source}; another program may use the port: choose one with --port, or 0 for a free one"
    )]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The runtime or its thread did not start.
    #[error("the server's threads did not start: {0}; check the limits of the system (ulimit -u)")]
    Threads(#[source] io::Error),
}

/// A running server with threads of its own. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends streams, lets requests under way finish (five seconds at most), and returns.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic in there has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts a server on a runtime of its own (two workers), so that the caller stays synchronous.
pub fn start(app: App, addr: SocketAddr) -> Result<Server, ServerError> {
    let listener = std::net::TcpListener::bind(addr).map_err(|source| ServerError::Bind { addr, source })?;
    start_on(app, listener)
}

/// The same on a listener that is bound already: for a program that wants to know about a taken port before it does anything else.
pub fn start_on(app: App, listener: std::net::TcpListener) -> Result<Server, ServerError> {
    let addr = listener.local_addr().map_err(ServerError::Threads)?;
    let bind = |source| ServerError::Bind { addr, source };
    listener.set_nonblocking(true).map_err(bind)?;
    let local = listener.local_addr().map_err(bind)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_name("http")
        .enable_all()
        .build()
        .map_err(ServerError::Threads)?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name(String::from("http-main"))
        .spawn(move || {
            runtime.block_on(async move {
                match TcpListener::from_std(listener) {
                    Ok(listener) => {
                        serve(listener, app, async {
                            // Stopped or dropped: the same.
                            let _ = stopped.await;
                        })
                        .await;
                    }
                    Err(error) => tracing::error!(%error, "the server did not start"),
                }
            });
            runtime.shutdown_timeout(GRACE);
        })
        .map_err(ServerError::Threads)?;
    Ok(Server { addr: local, stop: Some(stop), thread: Some(thread) })
}

/// Serves until `shutdown`, then ends streams and lets requests under way finish.
pub async fn serve(listener: TcpListener, app: App, shutdown: impl Future<Output = ()> + Send) {
    let context = Context::new(app);
    let router = crate::routes::router(&context);
    let places = context.app.settings.connections;
    let free = Arc::new(Semaphore::new(places));
    tokio::pin!(shutdown);
    loop {
        // A place first: connections beyond the limit wait in the system's queue, where they cost nothing here.
        let accepted = async {
            let place = Arc::clone(&free).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accepted => accepted,
        };
        let Ok(place) = place else { break };
        match accepted {
            Ok((stream, _)) => {
                let (router, context) = (router.clone(), Arc::clone(&context));
                tokio::spawn(async move {
                    connection(stream, router, context).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: some come back when connections end.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    context.closing.send_replace(true);
    let all = u32::try_from(places).unwrap_or(u32::MAX);
    if tokio::time::timeout(GRACE, free.acquire_many(all)).await.is_err() {
        tracing::warn!("some requests did not finish in time and were cut off");
    }
}

async fn connection(stream: tokio::net::TcpStream, router: Router, context: Arc<Context>) {
    // Small messages at once: a score must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let mut closing = context.closing.subscribe();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(context.app.settings.header_timeout)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closed(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which is the same.
    let _ = closing.wait_for(|closing| *closing).await;
}
