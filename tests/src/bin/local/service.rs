//! A fixed port in front of a pod, as a Service is in a cluster. In: connections. Out: the same bytes, to the pod.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Forwards all connections from one address to the other until the process ends.
pub(crate) fn forward(from: SocketAddr, to: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(from)?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || join(&client, to));
        }
    });
    Ok(())
}

fn join(client: &TcpStream, to: SocketAddr) -> io::Result<()> {
    let pod = TcpStream::connect(to)?;
    client.set_nodelay(true)?;
    pod.set_nodelay(true)?;
    thread::scope(|scope| {
        scope.spawn(|| pump(client, &pod));
        pump(&pod, client);
    });
    Ok(())
}

/// When one side is done, or broken, so is the other.
fn pump(mut from: &TcpStream, mut to: &TcpStream) {
    io::copy(&mut from, &mut to).ok();
    to.shutdown(Shutdown::Both).ok();
}
