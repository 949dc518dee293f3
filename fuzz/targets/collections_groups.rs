//! See `tautline_core::collections::model::groups::check_model`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tautline_core::collections::model::groups::check_model as check;

fuzz_target!(|data: &[u8]| check(data));
