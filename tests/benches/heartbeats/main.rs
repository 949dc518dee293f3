//! Heartbeats at full scale: what idle connections cost the relay daemon,
//! beside a bare loop that writes one ping and reads one pong for each
//! connection and period, each alone at its moment or grouped as the relay's
//! prober groups them; and whether all who fall silent at once are ended in
//! time, and none else.
//!
//! ```sh
//! cargo bench -p tautline-tests --bench heartbeats                    # 12 minutes
//! cargo bench -p tautline-tests --bench heartbeats -- 2000 900 10     # connections, silent, period in s
//! ```
//!
//! Each server is a process of its own and runs alone; its CPU time (user and
//! system) is read from `/proc` over whole periods. The peers are sockets of
//! this process, which answers each ping at once. Who falls silent keeps its
//! socket open, and neither reads nor answers.
//!
//! It ends with an error if one who fell silent was not ended in the time that
//! the relay itself computes (and a second), or if another one was ended. How
//! much CPU time is spent is printed, not judged.

mod bare;
mod servers;
mod silence;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use servers::{Bare, Fleet, Probed};

/// Over so many whole periods CPU time is taken.
const PERIODS: u32 = 2;
/// How far apart the prober's moments are in periods of a minute and more.
const GRAIN_MS: u64 = 50;
/// CPU time that is wanted at most, as a share of one core.
const CORE_SHARE_MAX: f64 = 0.02;

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).filter(|it| it != "--bench");
    let mut arguments = arguments.peekable();
    if arguments.next_if_eq("bare").is_some() {
        let mut figure = || -> Option<u64> { arguments.next()?.parse().ok() };
        let [count, period_ms, grain_ms] = [(); 3].map(|()| figure().expect("three figures"));
        bare::serve(count as usize, Duration::from_millis(period_ms), grain_ms);
        return ExitCode::SUCCESS;
    }
    let figures: Vec<u32> = arguments
        .map(|text| {
            text.parse()
                .expect("connections, silent, period in seconds")
        })
        .collect();
    let figure = |place: usize, usual| figures.get(place).copied().unwrap_or(usual);
    let (connections, silent, period_s) =
        (figure(0, 19_000), figure(1, 9_000), figure(2, 60).max(1));
    assert!(silent <= connections, "more are silent than there are");

    let fleet = compare(connections as usize, period_s);
    let many = silence::fall(fleet, silent as usize);
    let few = Fleet::start(400, "10", "500", "1");
    let few = silence::fall(few, 200);
    match many && few {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What one server came to over the periods.
struct Figures {
    /// Of one core.
    share: f64,
    micros_per_probe: f64,
    probes: usize,
    /// Probes of the busiest second, and of the mean one.
    busiest: usize,
    mean: f64,
}

/// Idle connections to the bare loops and to the relay, which is handed on.
fn compare(connections: usize, period_s: u32) -> Fleet {
    let period = Duration::from_secs(period_s.into());
    println!("{connections} idle connections, each is asked every {period:?}; {PERIODS} periods");
    println!(
        "{:<14} {:>9} {:>15} {:>10}   busiest second",
        "", "of a core", "CPU per probe", "probes"
    );
    let alone = measure(&mut Bare::start(connections, period, 1), period);
    print_line("bare, alone", &alone);
    let grouped = measure(&mut Bare::start(connections, period, GRAIN_MS), period);
    print_line("bare, grouped", &grouped);
    let mut fleet = Fleet::start(connections, &period_s.to_string(), "5000", "auto");
    // The greetings are traffic, too.
    fleet.peers().serve_until(Instant::now() + period);
    let before = fleet.probes();
    let relay = measure(&mut fleet, period);
    let after = fleet.probes();
    let [sent, answered, saved] = [0, 1, 2].map(|it| after[it] - before[it]);
    print_line("tautlined", &relay);
    println!("  by its own count {sent} sent, {answered} answered, {saved} saved by traffic");
    println!(
        "tautlined : bare = {:.2} alone, {:.2} grouped; at most {} % of a core is wanted: {}\n",
        relay.micros_per_probe / alone.micros_per_probe,
        relay.micros_per_probe / grouped.micros_per_probe,
        CORE_SHARE_MAX * 100.0,
        match relay.share <= CORE_SHARE_MAX {
            true => "kept",
            false => "MISSED",
        }
    );
    fleet
}

fn print_line(name: &str, figures: &Figures) {
    let Figures {
        share,
        micros_per_probe,
        probes,
        busiest,
        mean,
    } = figures;
    println!(
        "{name:<14} {:>7.2} % {micros_per_probe:>12.1} µs {probes:>10}   \
         {busiest}, {:.2} of the mean {mean:.1}",
        share * 100.0,
        *busiest as f64 / mean
    );
}

/// Takes the CPU time of the server while its connections are idle.
fn measure(server: &mut impl Probed, period: Duration) -> Figures {
    let before = server.process().cpu_micros();
    let first = server.peers().pings().len();
    let start = Instant::now();
    server.peers().serve_until(start + period * PERIODS);
    let spent = server.process().cpu_micros() - before;
    let span = start.elapsed();
    let pings = &server.peers().pings()[first..];
    Figures {
        share: spent / span.as_micros() as f64,
        micros_per_probe: spent / pings.len().max(1) as f64,
        probes: pings.len(),
        busiest: busiest_second(pings, start),
        mean: pings.len() as f64 / span.as_secs_f64(),
    }
}

/// How many of the moments, which are in order, are in one second.
fn busiest_second(moments: &[Instant], start: Instant) -> usize {
    let seconds = moments.chunk_by(|one, other| {
        let second = |moment: &Instant| moment.saturating_duration_since(start).as_secs();
        second(one) == second(other)
    });
    seconds.map(<[Instant]>::len).max().unwrap_or(0)
}
