//! Every file of every fuzz corpus, through the same body as the fuzzer's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tautline_core::collections::model;
use tautline_core::{client, heartbeat, http, notify, registration, relay, spool, wire};

/// The limits of a corpus that is checked in.
const FILES_MAX: usize = 60;
const BYTES_MAX: u64 = 60_000;

macro_rules! targets {
    ($($name:ident: $body:path,)*) => {
        /// Every target that has a body.
        const TARGETS: &[&str] = &[$(stringify!($name)),*];

        $(
            #[test]
            fn $name() {
                replay(stringify!($name), $body);
            }
        )*
    };
}

targets! {
    client_operations: client::fuzz::operations,
    collections_groups: model::groups::check_model,
    collections_index: model::index::check_model,
    collections_lru: model::lru::check_model,
    collections_pool: model::pool::check_model,
    collections_ready: model::ready::check_model,
    collections_slab: model::slab::check_model,
    collections_wheel: model::wheel::check_model,
    heartbeat_learner: heartbeat::fuzz::learner,
    heartbeat_monitor: heartbeat::fuzz::monitor,
    heartbeat_pool: heartbeat::fuzz::pool,
    heartbeat_prober: heartbeat::fuzz::prober,
    http_client_split: http::fuzz::client_split,
    http_head: http::fuzz::head,
    http_server_split: http::fuzz::server_split,
    notify_mailbox: notify::fuzz::mailbox,
    notify_notifier: notify::fuzz::notifier,
    notify_router: notify::fuzz::router,
    registration_registry: registration::fuzz::registry,
    relay_operations: relay::fuzz::operations,
    spool_index: spool::fuzz::index,
    spool_scan: spool::fuzz::scan,
    wire_authorization: wire::fuzz::authorization,
    wire_datagrams: wire::fuzz::datagrams,
    wire_frames: wire::fuzz::frames,
    wire_messages: wire::fuzz::messages,
    wire_opening: wire::fuzz::opening,
    wire_replay: wire::fuzz::replay,
}

#[test]
fn every_target_has_a_body_and_a_corpus() {
    let bodies: BTreeSet<String> = TARGETS.iter().map(|name| (*name).into()).collect();
    let targets: BTreeSet<_> = names(&fuzz_dir().join("targets"))
        .iter()
        .map(|source| source.trim_end_matches(".rs").to_owned())
        .collect();
    assert_eq!(targets, bodies, "fuzz/targets and the bodies here");
    assert_eq!(names(&fuzz_dir().join("corpus")), bodies, "fuzz/corpus");
    let manifest = fs::read_to_string(fuzz_dir().join("Cargo.toml")).expect("a manifest");
    let binaries: BTreeSet<String> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("name = \""))
        .map(|rest| rest.trim_end_matches('"').to_owned())
        .filter(|name| name != "tautline-fuzz")
        .collect();
    assert_eq!(binaries, bodies, "the binaries of fuzz/Cargo.toml");
}

/// Runs the body over the corpus. The name of the file at hand is shown when
/// it panics.
fn replay(target: &str, body: fn(&[u8])) {
    let folder = fuzz_dir().join("corpus").join(target);
    let files = names(&folder);
    let count = files.len();
    assert!((1..=FILES_MAX).contains(&count), "{count} files");
    let mut bytes = 0;
    for file in files {
        println!("{target}/{file}");
        let data = fs::read(folder.join(file)).expect("a file that can be read");
        bytes += data.len() as u64;
        body(&data);
    }
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.into_string().expect("a plain name"))
        .collect()
}

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}
