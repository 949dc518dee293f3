//! What every TCP connection is set to.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How long a connection is silent before the system asks whether the other
/// end is still there.
const SILENCE: Duration = Duration::from_secs(60);
/// How long it waits for an answer before it asks again.
#[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "vita")))]
const INTERVAL: Duration = Duration::from_secs(15);

/// Small writes leave at once, and a peer that vanished without a word (power
/// lost, cable cut) is noticed after a few minutes.
///
/// A connection without it works too, so a system that refuses is no error.
pub fn tune(socket: &impl AsSocket) {
    let socket = SockRef::from(socket);
    let _ = socket.set_tcp_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(SILENCE);
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "vita")))]
    let keepalive = keepalive.with_interval(INTERVAL);
    let _ = socket.set_tcp_keepalive(&keepalive);
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
    fn a_connection_asks_after_its_peer_and_does_not_wait_to_write() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        tune(&stream);
        assert!(stream.nodelay().unwrap());
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_keepalive_time().unwrap(), SILENCE);
    }
}
