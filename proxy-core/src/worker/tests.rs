//! Who gets a job. Kind: driver.

use super::*;

#[test]
fn a_burst_is_spread_although_no_worker_has_seated_anybody_yet() {
    let desk = || {
        let (jobs, receiver) = mpsc::channel(QUEUE);
        (Desk { jobs, load: Arc::default() }, receiver)
    };
    let ((one, first), (two, second)) = (desk(), desk());
    let workers = Workers { desks: vec![one, two], threads: Vec::new() };
    for job in 0..6 {
        assert_eq!(workers.dispatch(job), Ok(()));
    }
    assert_eq!((first.len(), second.len()), (3, 3));
}
