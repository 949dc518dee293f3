//! A process under measurement.

use std::fs;
use std::process::Child;

/// A process that ends with its handle.
#[derive(Debug)]
pub struct Process(pub Child);

impl Process {
    /// CPU time so far, user and system, in microseconds.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn cpu_micros(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()));
        let stat = stat.expect("the process lives");
        // The name before may have blanks in it.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        // utime and stime (proc_pid_stat(5)).
        let spent = fields.split_whitespace().skip(11).take(2);
        let ticks: f64 = spent.map(|it| it.parse::<f64>().expect("a figure")).sum();
        ticks * 1e6 / rustix::param::clock_ticks_per_second() as f64
    }

    /// Its own memory, without files and shared pages.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()));
        let status = status.expect("the process lives");
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("RssAnon:"));
        let figure = line.and_then(|line| line.split_whitespace().next());
        let kib: u64 = figure.and_then(|it| it.parse().ok()).expect("RssAnon");
        kib * 1_024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already cannot be ended.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
