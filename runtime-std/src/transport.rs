//! What every TCP connection is set to.

use socket2::SockRef;

/// Small writes leave at once.
///
/// Nothing else is set. Whether the other end is still there is for the
/// heartbeats to find out, and for the deadlines of HTTP: the system's
/// keep-alive would have a period of its own beside theirs, and keep firewalls
/// open whatever their settings say.
///
/// A connection without it works too, so a system that refuses is no error.
pub fn tune(socket: &impl AsSocket) {
    let _ = SockRef::from(socket).set_tcp_nodelay(true);
}

#[cfg(unix)]
pub use std::os::fd::AsFd as AsSocket;
#[cfg(windows)]
pub use std::os::windows::io::AsSocket;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_does_not_wait_to_write_and_leaves_liveness_to_heartbeats() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        tune(&stream);
        assert!(stream.nodelay().unwrap());
        assert!(!SockRef::from(&stream).keepalive().unwrap());
    }
}
