use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::sync::atomic::AtomicBool;

use base::UnixTime;

use super::*;
use crate::bindings::tests::contact;
use crate::record;

fn full(user: &str, cseq: u32) -> Vec<u8> {
    let mut contact = contact("sip:a@192.0.2.7");
    contact.cseq = cseq;
    record::encode(user, &[contact])
}

fn state(records: &[Vec<u8>]) -> BTreeMap<String, u32> {
    let bindings = Bindings::new();
    assert_eq!(bindings.restore(records, UnixTime(0)), 0);
    let mut state = BTreeMap::new();
    bindings.for_each(|user, contacts| {
        state.insert(user.to_owned(), contacts[0].cseq);
    });
    state
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A journal with one record whose current file is now `/dev/full`.
fn on_a_full_disk(folder: &Path) -> Journal {
    let (journal, _) = Journal::open(folder).unwrap();
    journal.append(&[full("1001", 1)]).unwrap();
    let number = journal.shared.current.load().number;
    journal.shared.current.store(Arc::new(Generation {
        number,
        file: OpenOptions::new().append(true).open("/dev/full").unwrap(),
        octets: AtomicU64::new(0),
        dirty: AtomicBool::new(false),
        named: AtomicBool::new(false),
    }));
    journal
}

#[test]
fn what_was_appended_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let (journal, records) = Journal::open(folder.path()).unwrap();
        assert_eq!(records.len(), 2 * round);
        let records = [full("1001", round as u32), full("1002", 7)];
        journal.append(&records).unwrap();
        journal.append(&[]).unwrap();
    }
    let (_, records) = Journal::open(folder.path()).unwrap();
    assert_eq!(
        state(&records),
        [("1001".into(), 2), ("1002".into(), 7)].into()
    );
}

#[test]
fn a_journal_cut_at_any_octet_keeps_all_whole_records() {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<_> = (0..4).map(|n| full(&format!("100{n}"), n)).collect();
    let (journal, _) = Journal::open(folder.path()).unwrap();
    let mut ends = Vec::new();
    for record in &records {
        journal.append(std::slice::from_ref(record)).unwrap();
        ends.push(journal.shared.current.load().octets.load(Relaxed) as usize);
    }
    let file = fs::read(files::journal(folder.path(), 1)).unwrap();
    assert_eq!(file.len(), *ends.last().unwrap());
    let cut = tempfile::tempdir().unwrap();
    for length in 0..=file.len() {
        fs::write(files::journal(cut.path(), 1), &file[..length]).unwrap();
        let found = files::recover(cut.path()).unwrap();
        let whole = ends.iter().filter(|&&end| end <= length).count();
        assert_eq!(found.records, records[..whole], "cut at {length}");
    }
}

#[test]
fn compaction_leaves_one_snapshot_and_one_journal() {
    let folder = tempfile::tempdir().unwrap();
    let bindings = Bindings::new();
    let (journal, _) = Journal::open(folder.path()).unwrap();
    for cseq in 0..100 {
        bindings.replace("1001", &[contact("sip:a@h")]);
        journal.append(&[full("1001", cseq)]).unwrap();
    }
    journal.append(&[record::encode("1002", &[])]).unwrap();
    journal.compact(&bindings).unwrap();
    journal.compact(&bindings).unwrap();
    journal.append(&[full("1003", 3)]).unwrap();
    let expected = [
        "bindings.0000000002.journal",
        "bindings.0000000002.snapshot",
    ];
    assert_eq!(names(folder.path()), expected);
    drop(journal);
    let (_, records) = Journal::open(folder.path()).unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!(
        state(&records),
        [("1001".into(), 1826), ("1003".into(), 3)].into()
    );
}

#[test]
fn many_starts_dont_leave_many_files() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..12 {
        drop(Journal::open(folder.path()).unwrap());
    }
    let bindings = Arc::new(Bindings::new());
    let (journal, _) = Journal::open(folder.path()).unwrap();
    journal.maintain(bindings).unwrap();
    let start = std::time::Instant::now();
    while names(folder.path()).len() > 2 {
        assert!(start.elapsed().as_secs() < 30, "nothing was compacted");
        std::thread::yield_now();
    }
}

#[test]
fn a_crash_before_the_snapshot_is_complete_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path()).unwrap();
    journal.append(&[full("1001", 1)]).unwrap();
    // What a compaction leaves that was killed right before its rename.
    let next = Generation::create(folder.path(), 2).unwrap();
    journal.shared.current.store(Arc::new(next));
    fs::write(folder.path().join("bindings.tmp"), b"half a snap").unwrap();
    journal.append(&[full("1001", 2), full("1002", 5)]).unwrap();
    drop(journal);
    let (_, records) = Journal::open(folder.path()).unwrap();
    assert_eq!(
        state(&records),
        [("1001".into(), 2), ("1002".into(), 5)].into()
    );
}

#[test]
fn a_full_disk_is_an_error_and_heals_with_the_whole_state() {
    let folder = tempfile::tempdir().unwrap();
    let bindings = Arc::new(Bindings::new());
    let journal = on_a_full_disk(folder.path());
    bindings.replace("1001", &[contact("sip:a@h")]);
    let error = journal.append(&[full("1001", 1826)]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(!journal.healthy());
    journal.maintain(Arc::clone(&bindings)).unwrap();
    let start = std::time::Instant::now();
    while !journal.healthy() {
        assert!(start.elapsed().as_secs() < 30, "the journal did not heal");
        std::thread::yield_now();
    }
    drop(journal);
    let (_, records) = Journal::open(folder.path()).unwrap();
    assert_eq!(state(&records), [("1001".into(), 1826)].into());
}

#[test]
fn a_compaction_that_fails_keeps_everything_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let bindings = Bindings::new();
    let (journal, _) = Journal::open(folder.path()).unwrap();
    journal.append(&[full("1001", 1826)]).unwrap();
    bindings.replace("1001", &[contact("sip:a@h")]);
    // A folder where the temporary file should be: opening it fails.
    let obstacle = folder.path().join("bindings.tmp");
    fs::create_dir(&obstacle).unwrap();
    for _ in 0..3 {
        assert!(journal.compact(&bindings).is_err());
    }
    assert_eq!(
        names(folder.path()),
        ["bindings.0000000001.journal", "bindings.tmp"]
    );
    fs::remove_dir(&obstacle).unwrap();
    journal.compact(&bindings).unwrap();
    drop(journal);
    let (_, records) = Journal::open(folder.path()).unwrap();
    assert_eq!(state(&records), [("1001".into(), 1826)].into());
}

#[test]
fn threads_append_while_the_journal_is_compacted() {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 400;
    let folder = tempfile::tempdir().unwrap();
    let bindings = Bindings::new();
    let (journal, _) = Journal::open(folder.path()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let compactor = scope.spawn(|| {
            let mut times = 0;
            while !done.load(Relaxed) || times == 0 {
                journal.compact(&bindings).unwrap();
                times += 1;
            }
            times
        });
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (journal, bindings) = (&journal, &bindings);
                scope.spawn(move || {
                    for cseq in 0..ROUNDS {
                        // Each thread owns its users, as a slot does.
                        let user = format!("{}", thread * 100 + cseq % 50);
                        let mut contact = contact("sip:a@h");
                        contact.cseq = cseq;
                        bindings.replace(&user, &[contact]);
                        journal.append(&[full(&user, cseq)]).unwrap();
                    }
                })
            })
            .collect();
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        done.store(true, Relaxed);
        assert!(compactor.join().unwrap() > 0);
    });
    drop(journal);
    let (_, records) = Journal::open(folder.path()).unwrap();
    let state = state(&records);
    assert_eq!(state.len(), 50 * THREADS as usize);
    assert!(state.values().all(|&cseq| cseq >= ROUNDS - 50), "{state:?}");
}

/// What release 1 wrote for `contact`: no number of a flow after the instance.
fn of_the_first_release(user: &str) -> Vec<u8> {
    let mut contact = contact("sip:a@192.0.2.7");
    contact.reg_id = 0;
    let new = record::encode(user, &[contact.clone()]);
    let instance = contact.instance.unwrap();
    let place = new.windows(instance.len());
    let place = place.into_iter().position(|w| w == instance.as_bytes());
    let end = place.unwrap() + instance.len();
    [&[1], &new[1..end], &new[end + 4..]].concat()
}

fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| (name.clone(), fs::read(folder.join(name)).unwrap());
    names(folder).into_iter().map(read).collect()
}

#[test]
fn a_folder_of_the_first_release_is_taken_over_and_what_is_not_ours_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut old = Vec::new();
    frame::put(&mut old, &of_the_first_release("1001"));
    let file = folder.path().join("bindings.0000000001.journal");
    fs::write(&file, &old).unwrap();
    let strangers = ["bindings.1.journal", "bindings.old", "notes.txt"];
    for name in strangers {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let (journal, records) = Journal::open(folder.path()).unwrap();
    let bindings = Bindings::new();
    assert_eq!(bindings.restore(&records, UnixTime(0)), 0);
    assert_eq!(bindings.len(), 1);
    // Now all of it is written anew.
    journal.compact(&bindings).unwrap();
    drop(journal);
    assert!(!file.exists());
    let (_, records) = Journal::open(folder.path()).unwrap();
    assert!(records.iter().all(|record| record[0] == record::VERSION));
    assert_eq!(state(&records).into_keys().collect::<Vec<_>>(), ["1001"]);
    for name in strangers {
        assert_eq!(fs::read(folder.path().join(name)).unwrap(), name.as_bytes());
    }
}

#[test]
fn a_folder_of_a_later_release_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path()).unwrap();
    let mut later = full("1002", 1);
    later[0] = record::VERSION + 1;
    journal.append(&[full("1001", 1), later]).unwrap();
    drop(journal);
    let before = contents(folder.path());
    let error = Journal::open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let text = error.to_string();
    assert!(text.contains("1.journal: record version 3"), "{text}");
    assert!(text.contains("start the release that wrote it"), "{text}");
    assert_eq!(contents(folder.path()), before);
}
