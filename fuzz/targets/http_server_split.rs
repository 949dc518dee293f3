//! See `tautline_core::http::fuzz::server_split`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tautline_core::http::fuzz::server_split as check;

fuzz_target!(|data: &[u8]| check(data));
