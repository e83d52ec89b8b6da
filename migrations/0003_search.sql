-- What filters, words and repeated searches need.

-- Folder and camera of a photo follow from what is stored. The folder is relative to the root,
-- the file system's own bytes, without a slash at the end; '' is the root itself.
alter table photo add column folder blob generated always as (
  cast(rtrim(rtrim(cast(path as text), replace(cast(path as text), '/', '.')), '/') as blob)
) virtual;
-- Many models repeat the make: "Canon" and "Canon EOS 5D".
alter table photo add column camera text generated always as (
  case
    when lower(substr(camera_model, 1, length(camera_make))) = lower(camera_make) then camera_model
    else nullif(trim(coalesce(camera_make, '') || ' ' || coalesce(camera_model, '')), '')
  end
) virtual;

create index photo_folder on photo (root_id, folder);
create index photo_name on photo (name collate nocase);
create index photo_wide_name on photo (name) where name glob '*[^ -~]*';   -- beyond ASCII
create index photo_format on photo (format);
create index photo_camera on photo (camera) where camera is not null;
create index photo_lens on photo (lens) where lens is not null;
create index photo_rating on photo (rating) where rating is not null;
create index photo_place on photo (latitude, longitude) where latitude is not null;

-- Moves with every change of what is said of photos: tags and alt text.
alter table archive add column described integer not null default 0;

create trigger run_added after insert on run begin
  update archive set described = described + 1;
end;
create trigger run_changed after update of undone_at on run begin
  update archive set described = described + 1;
end;
create trigger hand_tag_added after insert on hand_tag begin
  update archive set described = described + 1;
end;
create trigger hand_tag_changed after update on hand_tag begin
  update archive set described = described + 1;
end;
create trigger hand_tag_dropped after delete on hand_tag begin
  update archive set described = described + 1;
end;
create trigger keyword_added after insert on keyword begin
  update archive set described = described + 1;
end;
create trigger keyword_dropped after delete on keyword begin
  update archive set described = described + 1;
end;
create trigger alt_text_added after insert on alt_text begin
  update archive set described = described + 1;
end;
create trigger alt_text_changed after update on alt_text begin
  update archive set described = described + 1;
end;
create trigger alt_text_dropped after delete on alt_text begin
  update archive set described = described + 1;
end;

-- Every name that was ever a tag, once: what `tag:` and words are compared with.
create table label (
  id integer primary key,
  name text not null unique
) strict;

-- Words of names and folders (by photo id), of labels (by label id), of alt text (by photo id).
create virtual table photo_words using fts5 (
  name, folder, tokenize = 'porter unicode61 remove_diacritics 2'
);
create virtual table label_words using fts5 (
  name, tokenize = 'porter unicode61 remove_diacritics 2'
);
create virtual table alt_words using fts5 (
  text, tokenize = 'porter unicode61 remove_diacritics 2'
);

create trigger photo_words_added after insert on photo begin
  insert into photo_words (rowid, name, folder)
    values (new.id, new.name, cast(new.folder as text));
end;
create trigger photo_words_changed after update of name, path on photo begin
  update photo_words set name = new.name, folder = cast(new.folder as text) where rowid = new.id;
end;
create trigger photo_words_dropped after delete on photo begin
  delete from photo_words where rowid = old.id;
end;
create trigger label_named after insert on tag begin
  insert or ignore into label (name) values (new.label);
end;
create trigger label_words_added after insert on label begin
  insert into label_words (rowid, name) values (new.id, new.name);
end;
create trigger alt_words_added after insert on alt_text begin
  insert into alt_words (rowid, text) values (new.photo_id, new.text);
end;
create trigger alt_words_changed after update on alt_text begin
  update alt_words set text = new.text where rowid = new.photo_id;
end;
create trigger alt_words_dropped after delete on alt_text begin
  delete from alt_words where rowid = old.photo_id;
end;

insert into photo_words (rowid, name, folder) select id, name, cast(folder as text) from photo;
insert into label (name) select distinct label from tag;
insert into alt_words (rowid, text) select photo_id, text from alt_text;

-- Perceptual hashes of upright pictures, 64 bits; copies of a file share one.
create table picture_hash (
  content_hash blob primary key,
  hash integer not null
) strict, without rowid;

-- Vectors of texts that were asked for before. The text itself is not kept.
create table text_vector (
  model_id integer not null references model (id) on delete cascade,
  text_hash blob not null,     -- BLAKE2b, 16 bytes
  vector blob not null,        -- little-endian float32, unit length
  primary key (model_id, text_hash)
) strict;

create table saved_search (
  id integer primary key autoincrement,
  name text not null unique collate nocase,
  query text not null,
  min_relevance real,          -- null: the automatic cut
  sort text not null check (sort in ('relevance', 'date')),
  saved_at text not null,
  looked_at text
) strict;

-- What a saved search has shown already.
create table saved_hit (
  saved_id integer not null references saved_search (id) on delete cascade,
  photo_id integer not null references photo (id) on delete cascade,
  primary key (saved_id, photo_id)
) strict, without rowid;

create index saved_hit_photo on saved_hit (photo_id);
