//! See `tautline_core::client::fuzz::operations`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tautline_core::client::fuzz::operations as check;

fuzz_target!(|data: &[u8]| check(data));
