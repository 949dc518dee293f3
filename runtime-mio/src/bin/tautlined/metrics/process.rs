//! The `process_*` metrics that every Prometheus client library has.

use std::fs;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// Ticks of `/proc/self/stat` per second; fixed for all programs on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

static STARTED: OnceLock<f64> = OnceLock::new();

/// Remembers the present time as the start of the process.
pub(crate) fn note_start() {
    STARTED.get_or_init(|| {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        since_epoch.unwrap_or_default().as_secs_f64()
    });
}

/// Adds what the system tells of this process; what it does not tell is left
/// out.
pub(super) fn add(registry: &mut Registry) {
    let mut gauge = |name: &str, help: &str, value: Option<u64>| {
        if let Some(value) = value.and_then(|value| i64::try_from(value).ok()) {
            registry.register(name, help, ConstGauge::new(value));
        }
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    gauge(
        "process_resident_memory_bytes",
        "Resident memory",
        kibibytes(&status, "VmRSS:"),
    );
    gauge(
        "process_virtual_memory_bytes",
        "Virtual memory",
        kibibytes(&status, "VmSize:"),
    );
    gauge("process_open_fds", "Open descriptors", open_descriptors());
    gauge(
        "process_max_fds",
        "Descriptors that may be open",
        crate::descriptors::limit(),
    );
    if let Some(seconds) = cpu_seconds() {
        let help = "Processor time, user and system";
        registry.register("process_cpu_seconds", help, ConstCounter::new(seconds));
    }
    if let Some(&started) = STARTED.get() {
        let help = "Start of the process, seconds since 1970";
        registry.register("process_start_time_seconds", help, ConstGauge::new(started));
    }
}

/// A figure of `/proc/self/status`, in bytes.
fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let figure = line.trim().strip_suffix("kB")?;
    figure.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

fn open_descriptors() -> Option<u64> {
    let dir = "/proc/self/fd";
    // Newer kernels tell the number as the folder's size.
    match fs::metadata(dir).ok()?.len() {
        0 => Some(fs::read_dir(dir).ok()?.count() as u64),
        count => Some(count),
    }
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the program's name, may have spaces and parentheses.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11);
    let (user, system): (u64, u64) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_all_of_them() {
        note_start();
        let mut registry = Registry::default();
        add(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for name in [
            "process_resident_memory_bytes",
            "process_virtual_memory_bytes",
            "process_open_fds",
            "process_max_fds",
            "process_cpu_seconds_total",
            "process_start_time_seconds",
        ] {
            assert!(
                text.lines().any(|line| line.starts_with(name)),
                "{name}\n{text}"
            );
        }
    }
}
