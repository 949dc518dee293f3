//! Many peers fall silent at once: who is ended, and when.

use std::time::{Duration, Instant};

use super::servers::{Fleet, Probed};

/// Over what the relay computes; for the ways of the last bytes.
const SPARE: Duration = Duration::from_secs(1);

/// Lets so many of the fleet fall silent; whether all of them and none else
/// were ended, in time.
pub(crate) fn fall(mut fleet: Fleet, silent: usize) -> bool {
    let connections = fleet.connections();
    let told = fleet.told();
    let span = |name: &str| Duration::from_millis(told[name].as_u64().expect("a span"));
    let limit = span("worst_case_ms");
    println!(
        "{silent} of {connections} fall silent; asked every {} s, response timeout {:?}, in flight {}",
        told["period_s"],
        span("response_timeout_ms"),
        told["in_flight"],
    );
    let share = |place: usize| place * silent / connections;
    let is_silent = |place: usize| share(place) != share(place + 1);
    let places = (0..connections).filter(|place| is_silent(*place));
    let start = Instant::now();
    let spent = fleet.process().cpu_micros();
    places.for_each(|place| fleet.peers().silence(place));
    // All are seen, also those who would come too late, or should not come.
    let end = start + limit + SPARE * 2;
    fleet
        .peers()
        .serve_while(end, |peers| peers.ended().len() < silent);
    let took = start.elapsed();
    let spent = fleet.process().cpu_micros() - spent;
    // Whoever else was to be ended is so within a timeout after its probe.
    let rest = Instant::now() + span("response_timeout_ms") + SPARE;
    fleet.peers().serve_until(rest);

    let ended = fleet.peers().ended().to_vec();
    let after = fleet.told();
    let right = ended.iter().filter(|(place, _)| is_silent(*place));
    let times: Vec<Duration> = right.map(|(_, at)| *at - start).collect();
    let first = times.iter().min().copied().unwrap_or_default();
    let last = times.iter().max().copied().unwrap_or_default();
    let others = ended.len() - times.len();
    println!(
        "  ended {} of {silent}, the first after {:.2} s, the last after {:.2} s; the relay computes at most {:.2} s",
        times.len(),
        first.as_secs_f64(),
        last.as_secs_f64(),
        limit.as_secs_f64()
    );
    println!(
        "  others ended: {others}; by its own count {} by the response timeout, {} are left; {:.2} % of a core\n",
        after["ended"]["response_timeout"],
        after["connections"],
        spent / took.as_micros() as f64 * 100.0
    );
    let wrong = [
        (times.len() < silent, "some who fell silent were not ended"),
        (others > 0, "some who answer were ended"),
        (
            last > limit + SPARE,
            "it took longer than the relay computes",
        ),
        (
            after["ended"]["response_timeout"] != silent
                || after["connections"] != connections - silent,
            "the relay counts otherwise",
        ),
    ];
    for (_, what) in wrong.iter().filter(|(is, _)| *is) {
        eprintln!("WRONG: {what}");
    }
    wrong.iter().all(|(is, _)| !is)
}
