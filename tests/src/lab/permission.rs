//! Whether a lab can be here, and what an earlier one left behind.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use super::rules;
use super::space::{Space, names};

/// Set to `required`, it turns a skip into a failure.
const VARIABLE: &str = "TAUTLINE_LAB";
const PREFIX: &str = "tautline-";

/// Whether a lab can be built. Where it can not, the reason is printed.
///
/// # Panics
/// When it can not and the environment says that it must.
pub(super) fn is_granted() -> bool {
    static REASON: LazyLock<Option<String>> = LazyLock::new(|| {
        let reason = why_not();
        if reason.is_none() {
            clear_leftovers();
        }
        reason
    });
    let Some(reason) = REASON.as_deref() else {
        return true;
    };
    let is_required = std::env::var_os(VARIABLE).is_some_and(|value| value == "required");
    assert!(!is_required, "{VARIABLE}=required, but {reason}");
    let test = std::thread::current();
    let test = test.name().unwrap_or("the lab");
    // Not by `eprintln!`, which the test harness shows of failures only.
    let line = format!("{test} is skipped: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).ok();
    false
}

/// The name of a namespace of this process.
pub(super) fn name(lab: u32, host: &str) -> String {
    format!("{PREFIX}{}-{lab}-{host}", std::process::id())
}

fn why_not() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root".to_owned());
    }
    for (tool, question, package) in [("ip", "-V", "iproute2"), ("nft", "-v", "nftables")] {
        if !is_there(tool, question) {
            return Some(format!("there is no `{tool}`: install {package}"));
        }
    }
    let probe = name(0, "probe");
    let space = match Space::make(probe) {
        Ok(space) => space,
        Err(error) => return Some(format!("no network namespace can be made: {error}")),
    };
    let tried = space.try_rules(rules::ROUTER);
    let tried = tried.and_then(|()| space.try_rules(rules::COUNTERS));
    let error = tried.err()?;
    Some(format!("nft can not translate addresses here: {error}"))
}

fn is_there(tool: &str, question: &str) -> bool {
    let folders = ["", "/usr/sbin/", "/sbin/"];
    folders.iter().any(|folder| {
        let mut command = Command::new(format!("{folder}{tool}"));
        command.arg(question);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

/// Ends the namespaces, and what still runs in them, of processes that ended
/// without ending them.
fn clear_leftovers() {
    for name in names() {
        if owner(&name).is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            drop(Space::adopt(&name));
        }
    }
}

/// The process that made a namespace, if it is one of a lab.
fn owner(name: &str) -> Option<&str> {
    let (pid, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let is_number = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_lab_made_has_an_owner() {
        assert_eq!(owner("tautline-123-1-relay"), Some("123"));
        let own = name(7, "c1");
        assert_eq!(owner(&own), Some(std::process::id().to_string().as_str()));
        for foreign in [
            "",
            "tautline-",
            "tautline-12",
            "tautline-x-1-c1",
            "tautline--1",
            "web-1-2",
        ] {
            assert_eq!(owner(foreign), None, "{foreign}");
        }
    }
}
