//! What the process itself should be allowed, set once at its start.
//!
//! In: nothing. Out: as many descriptors as the system grants, and no core dumps, which would hold every secret (security rule 20).

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Raises the number of open files to the hard limit and returns it; `None`: unlimited. Each call takes up to two.
pub fn raise_open_files() -> io::Result<Option<u64>> {
    let limits = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limits.maximum,
            maximum: limits.maximum,
        },
    )?;
    Ok(limits.maximum)
}

/// No core dumps, and no other process of the same user may attach or read this one's memory.
pub fn forbid_core_dumps() -> io::Result<()> {
    rustix::process::setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    #[test]
    fn rule_20_no_core_dumps() {
        super::forbid_core_dumps().unwrap();
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }

    #[test]
    fn open_files_are_raised_to_the_hard_limit() {
        let hard = super::raise_open_files().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }
}
