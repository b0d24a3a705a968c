//! Control groups as kernels show them, in trees like those of containers and hosts of both versions.

use std::path::Path;

use chassis::control::cgroup::{Cgroup, read};

fn of(tree: &str) -> Cgroup {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cgroup").join(tree), "self")
}

#[test]
fn version_2_in_a_container() {
    let wanted = Cgroup {
        memory_bytes: 48_234_496,
        memory_limit_bytes: 134_217_728,
        throttled_seconds: 1.25,
        cpu_limit_cores: 1.5,
        pids: 11,
        pids_limit: 256,
        // Before Linux 5.13 nobody kept a time in which all work stood still for want of a processor.
        pressure_seconds: [[Some(2.75), None], [Some(0.5), Some(0.25)], [Some(0.0), Some(0.0)]],
    };
    assert_eq!(of("v2_container"), wanted);
}

#[test]
fn version_2_on_a_host_has_no_limits() {
    assert_eq!(of("v2_host"), Cgroup { memory_bytes: 2_147_483_648, pids: 312, ..Cgroup::default() });
}

#[test]
fn version_2_with_a_path_that_leads_out_of_the_mount() {
    let wanted = Cgroup {
        memory_bytes: 1_048_576,
        memory_limit_bytes: 67_108_864,
        pids: 3,
        pids_limit: 64,
        ..Cgroup::default()
    };
    assert_eq!(of("v2_outside"), wanted);
}

#[test]
fn version_1_in_a_container() {
    let wanted = Cgroup {
        memory_bytes: 33_554_432,
        memory_limit_bytes: 268_435_456,
        throttled_seconds: 7.5,
        cpu_limit_cores: 0.5,
        pids: 7,
        pids_limit: 128,
        ..Cgroup::default()
    };
    assert_eq!(of("v1_container"), wanted);
}

#[test]
fn version_1_on_a_host_has_no_limits() {
    assert_eq!(of("v1_host"), Cgroup { memory_bytes: 4_096_000, pids: 99, ..Cgroup::default() });
}

#[test]
fn no_control_groups_at_all() {
    assert_eq!(of("nowhere"), Cgroup::default());
}
