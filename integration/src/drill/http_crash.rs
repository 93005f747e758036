//! kill -9 of one of Pretix's replicas under load. Kind: driver.

use super::http_shop::{ORDER, Stage};
use super::{PRETIX, Run, Script};
use crate::error::Result;
use crate::progress::say;
use crate::report::Figures;

pub(super) const SCRIPT: Script = Script {
    name: "http-crash",
    cast: &PRETIX,
    order: &ORDER,
    session_length: None,
    runs: 1,
    play,
    remark: "Real Pretix, two replicas, five visitors in two seconds (four where no files are served); one replica with all its workers is killed, and started \
             again ten seconds later, three times. failed_requests: idempotent ones, orders with an X-Idempotency-Key, \
             and orders refused as never sent. An order without a key that was with the dead worker is an unknown_post: \
             nobody may send it again. HAProxy serves no files, and is asked for none.",
};

fn play(run: &Run) -> Result<Figures> {
    let mut stage = Stage::set(run)?;
    let times = if run.quick { 1 } else { 3 };
    for time in 0..times {
        stage.go_on(4);
        let number = time % stage.shop.pretix.replicas().len();
        say(format_args!("kill -9 of replica {number}"));
        stage.shop.pretix.replica(number).kill_9();
        stage.go_on(10);
        stage.shop.pretix.replica(number).start()?;
        stage.shop.pretix.replica(number).ready()?;
    }
    stage.go_on(4);
    stage.figures()
}
