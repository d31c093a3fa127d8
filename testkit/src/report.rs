//! Running a world so that a failure tells how to see it again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::world::{Settings, World};

/// What went wrong in a world.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Everything that was wrong, in the order in which it was found.
    pub faults: Vec<String>,
    /// One line for each message, or the whole text of all of them if `SIM_TRACE` is `full`.
    pub trace: String,
}

/// Runs `story` in a fresh world, lets everything come to rest, and returns the world.
///
/// # Errors
/// If the story panicked, or the world has found a fault.
pub fn examine(
    settings: Settings,
    story: impl FnOnce(&mut World),
) -> Result<Box<World>, Box<Failure>> {
    let mut world = World::new(settings);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        story(&mut world);
        world.settle();
    }));
    let mut faults = world.faults().to_vec();
    if let Err(panic) = outcome {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        faults.push(format!("panic: {}", text.unwrap_or("without a text")));
    }
    if faults.is_empty() {
        return Ok(Box::new(world));
    }
    let full = std::env::var("SIM_TRACE").is_ok_and(|value| value == "full");
    let trace = world.tap().text(full);
    Err(Box::new(Failure { faults, trace }))
}

/// [`examine`]s a world; `again` is what repeats this run.
///
/// # Panics
/// With the trace, if anything was wrong.
pub fn simulate(settings: Settings, again: &str, story: impl FnOnce(&mut World)) {
    if let Err(failure) = examine(settings, story) {
        let (trace, faults) = (&failure.trace, failure.faults.join("\n"));
        panic!("{trace}\n{faults}\nagain: {again}   (SIM_TRACE=full for all text)");
    }
}
