use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::file::{AnchorFile, put, read};
use super::{Acknowledged, Counts, Tip, make};
use crate::store::signing::SigningKey;

struct Folder {
    folder: TempDir,
    key: Arc<SigningKey>,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (key, made) = SigningKey::open(&folder.path().join("key")).unwrap();
        assert!(made);
        Self { folder, key: Arc::new(key) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("anchor")
    }

    fn says(&self) -> Acknowledged {
        let reading = read(&self.path(), &self.key).unwrap().unwrap();
        assert!(!reading.foreign);
        reading.says
    }
}

fn made(revision: u64, tenant: &str) -> Acknowledged {
    Acknowledged {
        database: "d".into(),
        revision,
        counts: Counts { servers: revision, ..Counts::default() },
        chains: [(tenant.to_owned(), Tip { number: revision, hash: [7; 32] })].into(),
    }
}

#[test]
fn lines_say_together_what_was_acknowledged_whatever_order_they_come_in() {
    let folder = Folder::new();
    assert!(read(&folder.path(), &folder.key).unwrap().is_none());
    make(&folder.path(), &folder.key, &made(1, "a")).unwrap();
    let mut file = AnchorFile::new(&folder.path(), Arc::clone(&folder.key), made(1, "a"));
    for (revision, tenant) in [(2, "b"), (5, "a"), (3, "a"), (4, "b")] {
        file.append(&made(revision, tenant)).unwrap();
    }
    let says = folder.says();
    assert_eq!((says.revision, says.counts.servers), (5, 5));
    assert_eq!((says.chains["a"].number, says.chains["b"].number), (5, 4));
}

/// a line that a loss of power has cut costs itself alone; so does one that was changed
#[test]
fn a_line_that_is_cut_or_changed_is_passed_over_and_what_is_no_record_is_refused() {
    let folder = Folder::new();
    make(&folder.path(), &folder.key, &made(1, "a")).unwrap();
    let mut file = AnchorFile::new(&folder.path(), Arc::clone(&folder.key), made(1, "a"));
    file.append(&made(2, "a")).unwrap();
    let bytes = std::fs::read(folder.path()).unwrap();
    std::fs::write(folder.path(), &bytes[..bytes.len() - 20]).unwrap();
    assert_eq!(folder.says().revision, 1);
    file.append(&made(3, "a")).unwrap();
    assert_eq!(folder.says().revision, 3);
    let text = std::fs::read_to_string(folder.path()).unwrap();
    std::fs::write(folder.path(), text.replace("\"revision\":3", "\"revision\":9")).unwrap();
    assert_eq!(folder.says().revision, 1);
    for garbage in [&b""[..], &[0; 4096], b"\n\n", b"AAAA {}\n"] {
        std::fs::write(folder.path(), garbage).unwrap();
        let said = read(&folder.path(), &folder.key).unwrap_err().to_string();
        assert!(said.contains("is damaged") && said.contains("remove the file"), "{said}");
    }
}

#[test]
fn the_record_of_another_key_is_known_as_such() {
    let folder = Folder::new();
    let other = SigningKey::unwritten(&folder.path()).unwrap();
    make(&folder.path(), &other, &made(4, "a")).unwrap();
    let reading = read(&folder.path(), &folder.key).unwrap().unwrap();
    assert!(reading.foreign && reading.says.revision == 4, "{reading:?}");
    put(&folder.path(), &folder.key, &made(4, "a")).unwrap();
    assert_eq!(folder.says().revision, 4);
}

#[cfg(unix)]
#[test]
fn the_file_stays_small_is_for_this_user_alone_and_forgets_nothing_that_another_process_adds() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    make(&folder.path(), &folder.key, &made(1, "a")).unwrap();
    let file = || AnchorFile::new(&folder.path(), Arc::clone(&folder.key), made(1, "a"));
    let (mut one, mut other) = (file(), file());
    for revision in 2..2000 {
        one.append(&made(revision, "a")).unwrap();
        if revision % 100 == 0 {
            other.append(&made(revision, &format!("t{revision}"))).unwrap();
        }
    }
    let says = folder.says();
    assert_eq!((says.revision, says.chains.len()), (1999, 20));
    let found = std::fs::metadata(folder.path()).unwrap();
    assert!(found.len() < 100 * 1024, "{} bytes", found.len());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    std::fs::remove_file(folder.path()).unwrap();
    one.append(&made(2000, "a")).unwrap();
    assert_eq!(folder.says().chains.len(), 20, "a file that was removed is written whole");
}
