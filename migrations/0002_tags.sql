-- Tags and alt text. Every run keeps what it decided, and what it decided about; `tag` is derived:
-- for each photo and label the hand decides, else the photo's own metadata, else the latest run
-- that is not undone and that looked at this photo with this label. Undoing a run is therefore
-- exact, whatever happened since.

create table run (
  id integer primary key autoincrement,
  kind text not null check (kind in ('tag', 'caption', 'export')),
  model text not null,
  fingerprint text not null,
  source text not null,        -- name of the vocabulary, caption file or export target
  source_hash text not null,
  settings text not null,      -- JSON: templates, thresholds, query
  photos integer not null,
  results integer not null,    -- tags, captions or files
  made_at text not null,
  undone_at text,
  open integer not null default 0   -- an export that is still writing, or was killed at it
) strict;

create table run_photo (
  run_id integer not null references run (id) on delete cascade,
  photo_id integer not null references photo (id) on delete cascade,
  primary key (photo_id, run_id)
) strict, without rowid;

create index run_photo_run on run_photo (run_id);

create table run_label (
  run_id integer not null references run (id) on delete cascade,
  label text not null,
  primary key (run_id, label)
) strict, without rowid;

create table run_tag (
  run_id integer not null references run (id) on delete cascade,
  photo_id integer not null references photo (id) on delete cascade,
  label text not null,
  score real not null,         -- 0 to 1
  primary key (photo_id, label, run_id)
) strict, without rowid;

create index run_tag_run on run_tag (run_id);

create table hand_tag (
  photo_id integer not null references photo (id) on delete cascade,
  label text not null,
  holds integer not null check (holds in (0, 1)),
  decided_at text not null,
  primary key (photo_id, label)
) strict, without rowid;

create table tag (
  photo_id integer not null references photo (id) on delete cascade,
  label text not null,
  origin text not null check (origin in ('hand', 'file', 'run')),
  score real,
  run_id integer references run (id) on delete cascade,
  primary key (photo_id, label)
) strict, without rowid;

create index tag_label on tag (label, photo_id);
create index tag_run on tag (run_id);

create table proposal (
  run_id integer not null references run (id) on delete cascade,
  photo_id integer not null references photo (id) on delete cascade,
  text text not null,
  cosine real not null,
  margin real not null,
  fits integer not null check (fits in (0, 1)),
  primary key (photo_id, run_id)
) strict, without rowid;

create index proposal_run on proposal (run_id);

create table alt_text (
  photo_id integer primary key references photo (id) on delete cascade,
  text text not null,
  state text not null check (state in ('accepted', 'edited', 'file')),
  decided_at text not null
) strict;

create table rejected (
  photo_id integer not null references photo (id) on delete cascade,
  text text not null,
  decided_at text not null,
  primary key (photo_id, text)
) strict, without rowid;

-- What an export to sidecars wrote, so that it can be taken back.
create table sidecar (
  run_id integer not null references run (id) on delete cascade,
  photo_id integer,
  path blob not null,
  before blob,                 -- null: there was no file
  after_hash blob not null,    -- SHA-256
  tags text not null,          -- JSON: what was written, to know it from what others write
  alt_text text,
  foreign_words text not null, -- JSON: keywords and description of the file and of others, then
  primary key (run_id, path)
) strict, without rowid;

create index sidecar_path on sidecar (path);
create index sidecar_photo on sidecar (photo_id);

alter table photo add column sidecar text;   -- size and mtime of the XMP sidecar that was read

-- Photos that carried keywords before there were tags.
insert or ignore into tag (photo_id, label, origin)
  select photo_id, keyword, 'file' from keyword;
insert or ignore into alt_text (photo_id, text, state, decided_at)
  select id, description, 'file', indexed_at from photo where description is not null;
