//! What the process itself should be allowed, set once at its start.
//!
//! In: nothing. Out: as many descriptors as the system grants, how much memory it does, and no core dumps, which would hold every secret
//! (security rule 20).

use std::fs;
use std::io;
use std::path::Path;

use rustix::process::{Resource, Rlimit};

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

/// How many files may be open now; `None`: as many as one likes.
pub(super) fn open_files() -> Option<u64> {
    rustix::process::getrlimit(Resource::Nofile).current
}

/// How many bytes of memory the process may use: the least of its control groups' limits; `None`: as many as there are.
#[must_use]
pub fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    least_limit(&groups, Path::new("/sys/fs/cgroup"))
}

/// `groups` as in `/proc/self/cgroup`: version 2 (`0::/path`), or the memory controller of version 1. Of a container that does not see its
/// own path the root is the one that counts.
fn least_limit(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or("-"), parts.next().unwrap_or("/"));
        let (root, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            "memory" => (root.join("memory"), "memory.limit_in_bytes"),
            _ => return Vec::new(),
        };
        let above = Path::new(path.trim_start_matches('/')).ancestors();
        let texts = above.filter_map(|group| fs::read_to_string(root.join(group).join(file)).ok());
        texts
            .filter_map(|text| text.trim().parse::<u64>().ok())
            .collect::<Vec<_>>()
    });
    // Version 1 writes a number near 2^63 for "no limit".
    limits.filter(|limit| *limit < 1 << 60).min()
}

/// No core dumps, and on Linux no other process of the same user may attach or read this one's memory.
pub fn forbid_core_dumps() -> io::Result<()> {
    rustix::process::setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, getrlimit};

    #[test]
    fn rule_20_no_core_dumps() {
        super::forbid_core_dumps().unwrap();
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        #[cfg(target_os = "linux")]
        assert_eq!(
            rustix::process::dumpable_behavior().unwrap(),
            rustix::process::DumpableBehavior::NotDumpable
        );
    }

    #[test]
    fn the_least_memory_limit_of_all_groups_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let limit = |path: &str, text: &str| {
            let file = root.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        let least = |groups: &str| super::least_limit(groups, root.path());
        assert_eq!(least("0::/\n"), None);
        limit("pod/memory.max", "536870912\n");
        limit("pod/gateway/memory.max", "max\n");
        assert_eq!(least("0::/pod/gateway\n"), Some(536_870_912));
        limit("memory.max", "268435456\n");
        assert_eq!(least("1:cpu:/\n0::/pod/gateway\n"), Some(268_435_456));
        assert_eq!(least("0::/../unseen\n"), Some(268_435_456));
        limit("memory/memory.limit_in_bytes", "9223372036854771712\n");
        limit("memory/docker/1/memory.limit_in_bytes", "134217728\n");
        assert_eq!(least("4:memory:/docker/1\n"), Some(134_217_728));
        assert_eq!(least("4:memory:/\n"), None);
    }

    #[test]
    fn open_files_are_raised_to_the_hard_limit() {
        let hard = super::raise_open_files().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }
}
