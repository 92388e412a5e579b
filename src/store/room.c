/* the first file of this room replaces this one */ typedef int kh_store_room;
