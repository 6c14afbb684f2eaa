//! A web server for a repository, as slow as a test wants it.
//!
//! Purpose: archives that do not come until the test lets them, and a server that goes away. It listens on the
//! host's loopback address, which machines share. Invariants: a connection carries one request; the port is free
//! again when the value has gone. Absent on purpose: everything of HTTP that apt can do without.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::machine::Machine;
use crate::repository::Repository;

#[derive(Debug, Default)]
struct Switches {
    held: AtomicBool,
    waiting: AtomicUsize,
    ended: AtomicBool,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _repository: Repository,
    switches: Arc<Switches>,
    listener: Option<JoinHandle<()>>,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Server {
    /// Serves a repository.
    pub fn start(repository: Repository) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
        let address = listener.local_addr()?;
        let (switches, connections) = (Arc::<Switches>::default(), Arc::<Mutex<Vec<JoinHandle<()>>>>::default());
        let (shared, kept, folder) = (Arc::clone(&switches), Arc::clone(&connections), repository.path().to_owned());
        let listener = thread::spawn(move || accept(&listener, &folder, &shared, &kept));
        Ok(Self { address, _repository: repository, switches, listener: Some(listener), connections })
    }

    /// Makes this server a package source of a machine and has the machine fetch its index.
    pub fn add_to(&self, machine: &Machine, name: &str) -> Result<()> {
        machine.write("/etc/apt/apt.conf.d/95loopback", "Acquire::http::Proxy::127.0.0.1 \"DIRECT\";\n", 0o644)?;
        let list = format!("/etc/apt/sources.list.d/{name}.list");
        machine.write(&list, format!("deb [trusted=yes] http://{}/ ./\n", self.address), 0o644)?;
        let only = [format!("Dir::Etc::sourcelist={list}"), "Dir::Etc::sourceparts=/dev/null".to_owned()];
        machine.check(["apt-get", "-qq", "-o", &only[0], "-o", &only[1], "-o", "APT::Get::List-Cleanup=0", "update"]).map(drop)
    }

    /// From now on archives do not come, or come again.
    pub fn hold(&self, held: bool) {
        self.switches.held.store(held, Ordering::SeqCst);
    }

    /// How many archives somebody waits for.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.switches.waiting.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.switches.ended.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees that it is over.
        drop(TcpStream::connect(self.address));
        let connections = std::mem::take(&mut *self.connections.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in self.listener.take().into_iter().chain(connections) {
            drop(thread.join());
        }
    }
}

fn accept(listener: &TcpListener, folder: &Path, switches: &Arc<Switches>, connections: &Mutex<Vec<JoinHandle<()>>>) {
    for stream in listener.incoming() {
        if switches.ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let (folder, switches) = (folder.to_owned(), Arc::clone(switches));
        // A client that went away is its own business.
        let thread = thread::spawn(move || drop(answer(stream, &folder, &switches)));
        connections.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }
}

fn answer(mut stream: TcpStream, folder: &Path, switches: &Switches) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let path = requested(&stream)?;
    if path.ends_with(".deb") {
        wait_while_held(switches);
    }
    let name = path.rsplit('/').next().context("a request has no path")?;
    match fs::read(folder.join(name)) {
        Ok(content) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len())?;
            stream.write_all(&content)?;
        }
        Err(_) => write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?,
    }
    Ok(())
}

/// The path of the request; its other lines are read and forgotten.
fn requested(stream: &TcpStream) -> Result<String> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().context("an empty request")??;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    first.split(' ').nth(1).map(str::to_owned).context("a request without a path")
}

fn wait_while_held(switches: &Switches) {
    switches.waiting.fetch_add(1, Ordering::SeqCst);
    while switches.held.load(Ordering::SeqCst) && !switches.ended.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(20));
    }
    switches.waiting.fetch_sub(1, Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::Package;
    use std::io::Read;

    fn get(server: &Server, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(server.address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    #[test]
    fn files_are_served_and_archives_wait() -> Result<()> {
        let repository = Repository::new(&[Package::new("bs-web", "1")])?;
        let server = Server::start(repository)?;
        assert!(get(&server, "/./Packages")?.contains("Package: bs-web"));
        assert!(get(&server, "/./InRelease")?.starts_with("HTTP/1.1 404"));
        server.hold(true);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| get(&server, "/./bs-web_1_all.deb"));
            crate::wait::wait_until("the archive is asked for", Duration::from_secs(10), || Ok((server.waiting() == 1).then_some(())))?;
            server.hold(false);
            let answer = waiting.join().map_err(|_| anyhow::anyhow!("the client panicked"))??;
            assert!(answer.starts_with("HTTP/1.1 200"));
            Ok(())
        })
    }
}
