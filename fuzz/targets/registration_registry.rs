//! See `tautline_core::registration::fuzz::registry`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tautline_core::registration::fuzz::registry as check;

fuzz_target!(|data: &[u8]| check(data));
