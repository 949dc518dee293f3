//! See `tautline_core::heartbeat::fuzz::pool`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tautline_core::heartbeat::fuzz::pool as check;

fuzz_target!(|data: &[u8]| check(data));
