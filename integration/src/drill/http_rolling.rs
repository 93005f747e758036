//! Pretix's replicas are replaced one by one under load: announced first, then without a word. Kind: driver.

use super::http_shop::{ORDER, Stage};
use super::{PRETIX, Run, Script};
use crate::error::Result;
use crate::progress::say;
use crate::report::Figures;

pub(super) const SCRIPT: Script = Script {
    name: "http-rolling",
    cast: &PRETIX,
    order: &ORDER,
    session_length: None,
    runs: 1,
    play,
    remark: "Real Pretix, two replicas, five visitors in two seconds (four where no files are served). Each replica is drained by the front's own means, sent SIGTERM, \
             started anew and put back; then each again, by SIGTERM alone. failed_requests: idempotent ones, orders with \
             an X-Idempotency-Key, and orders refused as never sent. Other orders without an answer are unknown_posts. HAProxy serves \
             no files, and is asked for none.",
};

fn play(run: &Run) -> Result<Figures> {
    let mut stage = Stage::set(run)?;
    for announced in [true, false] {
        for number in 0..stage.shop.pretix.replicas().len() {
            stage.go_on(2);
            replace(&mut stage, number, announced)?;
        }
        if run.quick {
            break;
        }
    }
    stage.go_on(3);
    stage.figures()
}

fn replace(stage: &mut Stage, number: usize, announced: bool) -> Result<()> {
    let how = if announced { "drained, then stopped" } else { "stopped without a word" };
    say(format_args!("replica {number} is {how}"));
    let replica = stage.shop.pretix.replicas()[number].addr();
    if announced {
        stage.shop.front.drain(replica, true)?;
        stage.go_on(2);
    }
    stage.shop.pretix.replica(number).stop()?;
    stage.shop.pretix.replica(number).start()?;
    stage.shop.pretix.replica(number).ready()?;
    if announced { stage.shop.front.drain(replica, false) } else { Ok(()) }
}
