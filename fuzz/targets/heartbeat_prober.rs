//! See `tautline_core::heartbeat::fuzz::prober`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tautline_core::heartbeat::fuzz::prober as check;

fuzz_target!(|data: &[u8]| check(data));
