//! Socket options: no delays by Nagle, and two clocks that notice a peer whose machine is gone without a word.
//! Kind: wiring.

use std::{io, os::fd::AsFd, time::Duration};

use socket2::{SockRef, TcpKeepalive};

/// When a silent peer is asked whether it is still there (tcp(7): TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first question.
    pub idle: Duration,
    /// Silence before each further one.
    pub interval: Duration,
    /// How many stay unanswered before the connection counts as dead.
    pub count: u32,
}

impl Default for Keepalive {
    /// A peer that vanished while idle is noticed after a minute.
    fn default() -> Self {
        Self { idle: Duration::from_secs(30), interval: Duration::from_secs(10), count: 3 }
    }
}

/// What every TCP socket of ours gets. TCP_NODELAY is always on: we write whole batches, and a delay of Nagle would
/// only meet the delayed ACK of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Questions to a silent peer; `None` asks none.
    pub keepalive: Option<Keepalive>,
    /// How long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT): keepalive is silent while there are such bytes,
    /// and without this a write to a dead machine is retried for 15 minutes. `None` leaves it to the kernel.
    pub user_timeout: Option<Duration>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { keepalive: Some(Keepalive::default()), user_timeout: Some(Duration::from_secs(30)) }
    }
}

impl SocketOptions {
    /// Sets the options. Set on a listening socket, each accepted one inherits them (tcp(7)), which spares five system
    /// calls per connection.
    ///
    /// # Errors
    /// Those of setsockopt(2): a value out of range.
    pub fn apply(&self, socket: &impl AsFd) -> io::Result<()> {
        let socket = SockRef::from(socket);
        socket.set_tcp_nodelay(true)?;
        if let Some(keepalive) = &self.keepalive {
            socket.set_tcp_keepalive(&keepalive.to_socket2())?;
        }
        socket.set_tcp_user_timeout(self.user_timeout)
    }
}

impl Keepalive {
    fn to_socket2(self) -> TcpKeepalive {
        TcpKeepalive::new().with_time(self.idle).with_interval(self.interval).with_retries(self.count)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn check(socket: &TcpStream, options: &SocketOptions) {
        let socket = SockRef::from(socket);
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.keepalive().unwrap(), options.keepalive.is_some());
        assert_eq!(socket.tcp_user_timeout().unwrap(), options.user_timeout);
        if let Some(keepalive) = options.keepalive {
            assert_eq!(socket.tcp_keepalive_time().unwrap(), keepalive.idle);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), keepalive.interval);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), keepalive.count);
        }
    }

    #[test]
    fn an_accepted_socket_inherits_all_options() {
        for options in [SocketOptions::default(), SocketOptions { keepalive: None, user_timeout: None }] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            options.apply(&listener).unwrap();
            let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            check(&listener.accept().unwrap().0, &options);
            options.apply(&near).unwrap();
            check(&near, &options);
        }
    }
}
