//! What a crash leaves behind of a process that holds keys.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit, setrlimit};

use crate::support::{Daemon, Homes, not_run};

const UNBOUNDED: Rlimit = Rlimit { current: None, maximum: None };

/// Whatever bound is set later, an agent that ends by a fault leaves no core; another program does.
#[test]
fn an_agent_that_crashes_leaves_no_image_of_its_memory() {
    // Who starts the agent bounds nothing. Where that is not allowed no program leaves one, which is told.
    let _ = setrlimit(Resource::Core, UNBOUNDED);
    let homes = Homes::new();
    let mut other = Command::new("sleep").arg("60").current_dir(homes.path("")).spawn().unwrap();
    if !leaves_core(&mut other) {
        return not_run(
            "image::an_agent_that_crashes_leaves_no_image_of_its_memory",
            "forbidden: no program's crash leaves a core",
        );
    }
    let mut agent = Daemon::start(&homes.init("home"), &[]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", agent.child.id())).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().nth(4), Some("0"), "{cores}");
    assert!(!leaves_core(&mut agent.child));
}

/// Ends the process as a fault does, with no bound to its core.
fn leaves_core(child: &mut Child) -> bool {
    let pid = Pid::from_child(child);
    let _ = prlimit(Some(pid), Resource::Core, UNBOUNDED);
    kill_process(pid, Signal::ABORT).unwrap();
    child.wait().unwrap().core_dumped()
}
