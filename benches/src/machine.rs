//! CPU clocks, memory and CPUs of processes.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// The CPU that servers under test have for themselves.
pub const SERVER_CPU: usize = 0;

/// The CPU of the generator.
pub const GENERATOR_CPU: usize = 1;

/// Whether there are two CPUs, one for each side.
#[must_use]
pub fn has_two_cpus() -> bool {
    fs::read_to_string("/sys/devices/system/cpu/online").is_ok_and(|list| list.trim() != "0")
}

/// Moves this process to the generator's CPU and ahead of other work, as far as it may.
///
/// # Errors
/// If there is no such CPU.
pub fn become_generator() -> Result<()> {
    // With sessions scheduled as groups, a priority counts only within its group.
    let _ = fs::write("/proc/self/autogroup", PRIORITY);
    let pid = std::process::id().to_string();
    let _ = Command::new("renice")
        .args(["-n", PRIORITY, "-p", &pid])
        .output();
    if has_two_cpus() {
        let mut cpus = CpuSet::new();
        cpus.set(GENERATOR_CPU)?;
        sched_setaffinity(Pid::from_raw(0), &cpus).context("pin the generator")?;
    }
    Ok(())
}

const PRIORITY: &str = "-15";

/// CPU time of a process and its descendants, threads that have ended included.
///
/// # Errors
/// If the process has ended.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for pid in tree(pid)? {
        // A child may end between the two steps; the parent may not.
        if let Ok(clock) = clock_getcpuclockid(Pid::from_raw(pid as i32)) {
            sum += Duration::from(clock.now()?);
        }
    }
    Ok(sum)
}

/// CPU time of this process.
///
/// # Errors
/// If the system keeps no such clock.
pub fn own_cpu_time() -> Result<Duration> {
    Ok(Duration::from(ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?))
}

/// Memory of a process and its descendants in KiB, shared pages counted by their share (PSS).
///
/// # Errors
/// If the process has ended.
pub fn memory(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for pid in tree(pid)? {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = pss.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        sum += kib.unwrap_or(0);
    }
    Ok(sum)
}

/// The process and its descendants.
fn tree(root: u32) -> Result<Vec<u32>> {
    let parents = parents()?;
    let mut found = vec![root];
    let mut index = 0;
    while let Some(&parent) = found.get(index) {
        let children = parents.iter().filter(|(_, of)| *of == parent);
        found.extend(children.map(|(child, _)| *child));
        index += 1;
    }
    anyhow::ensure!(
        parents.iter().any(|(pid, _)| *pid == root),
        "process {root} has ended"
    );
    Ok(found)
}

/// All processes with their parents.
fn parents() -> Result<Vec<(u32, u32)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name of the program stands in parentheses and may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let parent = fields.split_whitespace().nth(1);
        if let Some(parent) = parent.and_then(|parent| parent.parse().ok()) {
            all.push((pid, parent));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_uses_cpu_and_memory() {
        let before = cpu_time(std::process::id()).unwrap();
        let mut sum = 0u64;
        while cpu_time(std::process::id()).unwrap() - before < Duration::from_millis(20) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(own_cpu_time().unwrap() > Duration::from_millis(20));
        assert!(memory(std::process::id()).unwrap() > 100);
    }

    #[test]
    fn a_child_belongs_to_the_tree() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let found = tree(std::process::id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()));
        assert!(tree(child.id()).is_err());
    }
}
