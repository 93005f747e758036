//! Socket options: no delays by Nagle, and two clocks that notice a peer whose machine is gone without a word.
//! Kind: wiring.

use std::{io, os::fd::AsFd, time::Duration};

use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};

use crate::config::duration;

/// What the kernel takes for keepalive, in seconds and in questions (MAX_TCP_KEEPIDLE and MAX_TCP_KEEPCNT).
const SECONDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(32_767));
const QUESTIONS: (u32, u32) = (1, 127);

/// What every TCP socket of ours gets. TCP_NODELAY is always on: we write whole batches, and a delay of Nagle would
/// only meet the delayed ACK of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SocketOptions {
    /// Silence before a peer is first asked whether it is still there (TCP_KEEPIDLE); a second at least.
    #[serde(with = "duration")]
    pub keepalive_idle: Duration,
    /// Silence before each further question (TCP_KEEPINTVL); a second at least.
    #[serde(with = "duration")]
    pub keepalive_interval: Duration,
    /// How many questions stay unanswered before the connection counts as dead (TCP_KEEPCNT).
    pub keepalive_count: u32,
    /// How long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT): keepalive is silent while there are such bytes,
    /// and without this a write to a dead machine is retried for 15 minutes. 0s leaves it to the kernel.
    #[serde(with = "duration")]
    pub user_timeout: Duration,
}

impl Default for SocketOptions {
    /// A peer that vanished is noticed within a minute when idle, and within 30 seconds when we write to it.
    fn default() -> Self {
        Self {
            keepalive_idle: Duration::from_secs(30),
            keepalive_interval: Duration::from_secs(10),
            keepalive_count: 3,
            user_timeout: Duration::from_secs(30),
        }
    }
}

impl SocketOptions {
    /// Sets the options. Set on a listening socket, each accepted one inherits them (tcp(7)), which spares six system
    /// calls per connection.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn apply(&self, socket: &impl AsFd) -> io::Result<()> {
        let socket = SockRef::from(socket);
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&self.keepalive())?;
        socket.set_tcp_user_timeout(Some(self.user_timeout))
    }

    /// Brought within the kernel's bounds, beyond which it would refuse each connection with EINVAL.
    fn keepalive(&self) -> TcpKeepalive {
        TcpKeepalive::new()
            .with_time(self.keepalive_idle.clamp(SECONDS.0, SECONDS.1))
            .with_interval(self.keepalive_interval.clamp(SECONDS.0, SECONDS.1))
            .with_retries(self.keepalive_count.clamp(QUESTIONS.0, QUESTIONS.1))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[track_caller]
    fn check(socket: &TcpStream, [idle, interval, count]: [u64; 3], user_timeout: Option<Duration>) {
        let socket = SockRef::from(socket);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(idle));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(interval));
        assert_eq!(u64::from(socket.tcp_keepalive_retries().unwrap()), count);
        assert_eq!(socket.tcp_user_timeout().unwrap(), user_timeout);
    }

    /// Applies the options to both ends: to one itself, to the other through its listener.
    #[track_caller]
    fn check_both(options: &SocketOptions, keepalive: [u64; 3], user_timeout: Option<Duration>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        options.apply(&listener).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        options.apply(&near).unwrap();
        check(&near, keepalive, user_timeout);
        check(&listener.accept().unwrap().0, keepalive, user_timeout);
    }

    #[test]
    fn an_accepted_socket_inherits_all_options() {
        check_both(&SocketOptions::default(), [30, 10, 3], Some(Duration::from_secs(30)));
    }

    #[test]
    fn what_the_kernel_would_refuse_is_brought_within_bounds() {
        let none = toml::from_str(
            r#"keepalive_idle = "5ms"
               keepalive_interval = "0s"
               keepalive_count = 0
               user_timeout = "0s""#,
        );
        check_both(&none.unwrap(), [1, 1, 1], None);
        let day = Duration::from_secs(86_400);
        let many = SocketOptions {
            keepalive_idle: day,
            keepalive_interval: day,
            keepalive_count: 1000,
            user_timeout: day,
        };
        check_both(&many, [32_767, 32_767, 127], Some(day));
    }
}
