//! What a client asks for that the shared connection can't do. Kind: driver.

use proxy_core::session::Ending;

use super::driver::Session;
use crate::wire::build::put_error;

impl Session {
    pub(super) async fn step_aside(&mut self, request: &[u8]) -> Result<(), Ending> {
        self.settled().await?;
        let _ = request;
        self.answer(|out| put_error(out, "ERR not yet"));
        Ok(())
    }

    pub(super) async fn carry_large(&mut self) -> Result<(), Ending> {
        self.settled().await?;
        Err(Ending::Protocol)
    }
}
