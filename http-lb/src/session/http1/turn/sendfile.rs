//! A file's bytes on their way to a client: by the kernel alone where the connection is plain, by way of our memory where
//! it is encrypted. Kind: driver.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::task::{Context, Poll, ready};

use proxy_core::net::Stream;
use tokio::io::Interest;

use super::Turn;
use crate::session::client::{Client, Gone};

/// Bytes of a file that one call hands to the kernel: it copies them before it comes back.
const FILE_STRIDE: usize = 512 * 1024;

/// Bytes of a file that are read where the kernel can't send it by itself.
const FILE_PIECE: usize = 64 * 1024;

impl Turn<'_> {
    /// Sends a stretch of a file without reading it.
    pub(super) async fn send_by_kernel(&mut self, file: &File, stretch: Range<u64>) -> Result<(), Gone> {
        let Range { start: mut offset, end } = stretch;
        self.flush().await?;
        while offset < end {
            let stride = FILE_STRIDE.min(usize::try_from(end - offset).unwrap_or(usize::MAX));
            let sent =
                self.listen(|line, cx| poll_sendfile(line.link.stream(), cx, file, &mut offset, stride));
            match sent.await? {
                0 => return Err(Gone), // it is shorter than it was
                sent => {
                    self.count(sent);
                    self.listening.pace.moved(sent);
                }
            }
        }
        Ok(())
    }

    /// Reads a stretch of a file piece by piece, and sends it.
    pub(super) async fn send_by_copy(&mut self, file: &File, stretch: Range<u64>) -> Result<(), Gone> {
        let Range { start: mut offset, end } = stretch;
        while offset < end {
            let mut piece = vec![0; FILE_PIECE.min(usize::try_from(end - offset).unwrap_or(usize::MAX))];
            file.read_exact_at(&mut piece, offset).map_err(|_| Gone)?;
            offset += piece.len() as u64;
            self.write(piece.into()).await?;
        }
        Ok(())
    }
}

/// Hands a stretch of a file to the kernel, which moves `offset` on.
fn poll_sendfile(
    stream: &Stream,
    cx: &mut Context<'_>,
    file: &File,
    offset: &mut u64,
    stride: usize,
) -> Poll<Result<usize, Gone>> {
    loop {
        match stream {
            Stream::Tcp(tcp) => ready!(tcp.poll_write_ready(cx)),
            Stream::Unix(unix) => ready!(unix.poll_write_ready(cx)),
            Stream::Tls(_) => return Poll::Ready(Err(Gone)),
        }
        .map_err(|_| Gone)?;
        let mut send = || Ok(rustix::fs::sendfile(stream, file, Some(offset), stride)?);
        let sent = match stream {
            Stream::Tcp(tcp) => tcp.try_io(Interest::WRITABLE, &mut send),
            Stream::Unix(unix) => unix.try_io(Interest::WRITABLE, &mut send),
            Stream::Tls(_) => return Poll::Ready(Err(Gone)),
        };
        match sent {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            sent => return Poll::Ready(sent.map_err(|_| Gone)),
        }
    }
}
